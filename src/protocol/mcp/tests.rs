//! What a message is, and what an answer looks like.

use super::*;
use crate::protocol::json;

#[test]
fn a_tools_call_is_read_with_its_id_as_written() {
    let body = br#"{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{"name":"t"}}"#;
    let value = json::read(body, &json::Limits::default()).expect("strict JSON");
    let Message::Request { id, method, params } = read(&value).expect("a message") else { panic!("a request") };
    assert_eq!((id.as_json(), method), ("\"7\"", TOOLS_CALL));
    assert_eq!(ToolCall::read(params).expect("a call").name, "t");
}
