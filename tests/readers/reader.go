// Reads JSON bodies as servers in Go do, and says what it read: one line in, one line out.
//
// A line in is a body in base64. A line out is null when the body is refused, else
//
//	document   the body with nothing lost: objects as lists of members in order, numbers by their digits
//	doubles    the body as maps, its numbers by the bits of the double that they became
//	call       method, tool and arguments as a server finds them that decodes into structs: keys match in any case, and the last one stands
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
)

// A value with its kind.
type told []any

var null = told{"null"}

// The next value of the body, as it is written.
func exact(tokens *json.Decoder) told {
	token, err := tokens.Token()
	if err != nil {
		// The whole body was found to be valid before.
		panic(err)
	}
	switch token := token.(type) {
	case nil:
		return null
	case bool:
		return told{"bool", token}
	case json.Number:
		return told{"number", token.String()}
	case string:
		return told{"text", token}
	}
	parts := []any{}
	if token == json.Delim('[') {
		for tokens.More() {
			parts = append(parts, exact(tokens))
		}
		tokens.Token()
		return told{"array", parts}
	}
	for tokens.More() {
		key, err := tokens.Token()
		if err != nil {
			panic(err)
		}
		parts = append(parts, []any{key, exact(tokens)})
	}
	tokens.Token()
	return told{"object", parts}
}

func exactly(document []byte) told {
	if document == nil {
		return null
	}
	tokens := json.NewDecoder(bytes.NewReader(document))
	tokens.UseNumber()
	return exact(tokens)
}

// A value as it is decoded when nothing else is asked for.
func plain(value any) told {
	switch value := value.(type) {
	case nil:
		return null
	case bool:
		return told{"bool", value}
	case float64:
		return told{"double", fmt.Sprintf("%016x", math.Float64bits(value))}
	case string:
		return told{"text", value}
	case []any:
		parts := []any{}
		for _, element := range value {
			parts = append(parts, plain(element))
		}
		return told{"array", parts}
	case map[string]any:
		parts := []any{}
		for key, member := range value {
			parts = append(parts, []any{key, plain(member)})
		}
		return told{"object", parts}
	}
	panic(fmt.Sprintf("%T", value))
}

type call struct {
	Method any             `json:"method"`
	Params json.RawMessage `json:"params"`
}

type params struct {
	Name      any             `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

func read(body []byte) any {
	var document any
	if json.Unmarshal(body, &document) != nil {
		return nil
	}
	// What is no object leaves these empty, which is all that is asked.
	var call call
	json.Unmarshal(body, &call)
	var params params
	json.Unmarshal(call.Params, &params)
	return map[string]any{
		"document": exactly(body),
		"doubles":  plain(document),
		"call":     []told{plain(call.Method), plain(params.Name), exactly(params.Arguments)},
	}
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		body, wrong := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil || wrong != nil {
			panic(fmt.Sprint(err, wrong))
		}
		if err := answers.Encode(read(body)); err != nil {
			panic(err)
		}
	}
}
