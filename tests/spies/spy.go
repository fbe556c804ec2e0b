// An upstream that writes down what it received and what Go made of it: one JSON line for each request.
//
// The first line is `{"port": N}`. `raw` holds the bytes as they came, in base64; `path` and `names` are this language's reading of
// them: keys match in any case, for instance, and the last of those that match stands.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"unicode"
)

var (
	lock sync.Mutex
	out  = json.NewEncoder(os.Stdout)
)

func write(document any) {
	lock.Lock()
	defer lock.Unlock()
	if err := out.Encode(document); err != nil {
		panic(err)
	}
}

// A connection that remembers what was read from it.
type tap struct {
	net.Conn
	lock sync.Mutex
	seen []byte
}

func (tap *tap) Read(part []byte) (int, error) {
	count, err := tap.Conn.Read(part)
	tap.lock.Lock()
	defer tap.lock.Unlock()
	tap.seen = append(tap.seen, part[:count]...)
	return count, err
}

func (tap *tap) take() []byte {
	tap.lock.Lock()
	defer tap.lock.Unlock()
	seen := tap.seen
	tap.seen = nil
	return seen
}

type taps struct{ net.Listener }

func (taps taps) Accept() (net.Conn, error) {
	conn, err := taps.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tap{Conn: conn}, nil
}

type key struct{}

// The members that a lenient server might take for `wanted`: any case, spaces and invisibles left out.
func members(object map[string]any, wanted string) (found []any) {
	letters := func(letter rune) rune {
		if unicode.IsLetter(letter) || unicode.IsNumber(letter) {
			return letter
		}
		return -1
	}
	for key, value := range object {
		if strings.EqualFold(strings.Map(letters, key), wanted) {
			found = append(found, value)
		}
	}
	return found
}

// Everything that some tool server would take for a tool's name: batches are run, keys are folded.
func names(document any) (found []string) {
	switch document := document.(type) {
	case []any:
		for _, element := range document {
			found = append(found, names(element)...)
		}
	case map[string]any:
		for _, params := range members(document, "params") {
			params, _ := params.(map[string]any)
			for _, name := range members(params, "name") {
				if name, is := name.(string); is {
					found = append(found, name)
				}
			}
		}
	}
	return found
}

// What a server finds that decodes into structs.
func declared(document []byte) string {
	var call struct {
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	// What does not fit is left out.
	json.Unmarshal(document, &call)
	return call.Params.Name
}

// The names in each document of the body, one behind the other: what follows the first is not looked at by everybody.
func called(body []byte) (found []string) {
	documents := json.NewDecoder(bytes.NewReader(body))
	for {
		var document json.RawMessage
		if documents.Decode(&document) != nil {
			return found
		}
		var value any
		json.Unmarshal(document, &value)
		found = append(append(found, names(value)...), declared(document))
	}
}

// The tools that a server which goes by its headers would run: every copy, each part of a list, and out of base64.
func mirrored(headers http.Header) (found []string) {
	for _, value := range headers.Values("Mcp-Name") {
		for _, part := range append(strings.Split(value, ","), value) {
			part = strings.ToLower(strings.TrimSpace(part))
			found = append(found, part)
		}
		for _, part := range strings.Split(value, ",") {
			coded := strings.TrimSpace(part)
			if len(coded) < 9 || !strings.EqualFold(coded[:9], "=?base64?") {
				continue
			}
			if name, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(coded[9:], "?=")); err == nil {
				found = append(found, string(name))
			}
		}
	}
	return found
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

func answer(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		// Not a whole request.
		panic(http.ErrAbortHandler)
	}
	// What the library takes out of the headers belongs to what came.
	headers := [][2]string{{"host", request.Host}}
	for _, coding := range request.TransferEncoding {
		headers = append(headers, [2]string{"transfer-encoding", coding})
	}
	for _, part := range []http.Header{request.Header, request.Trailer} {
		for name, values := range part {
			for _, value := range values {
				headers = append(headers, [2]string{strings.ToLower(name), value})
			}
		}
	}
	write(map[string]any{
		"raw":     request.Context().Value(key{}).(*tap).take(),
		"method":  first(request.Header.Get("X-Http-Method-Override"), request.Method),
		"target":  request.RequestURI,
		"path":    first(request.Header.Get("X-Original-Url"), request.Header.Get("X-Rewrite-Url"), request.URL.Path),
		"headers": headers,
		"body":    body,
		"names":   append(called(body), mirrored(request.Header)...),
	})
	response.Header().Set("Content-Type", "application/json")
	io.WriteString(response, `{"ok":true,"by":"go"}`)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	write(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	spy := http.Server{
		Handler: http.HandlerFunc(answer),
		ConnContext: func(context_ context.Context, conn net.Conn) context.Context {
			return context.WithValue(context_, key{}, conn)
		},
	}
	panic(spy.Serve(taps{listener}))
}
