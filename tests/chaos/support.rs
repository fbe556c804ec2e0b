//! The parts of the integration tests' rig that these tests use: the real binary, its folder, plain HTTP.
#![expect(dead_code, reason = "the integration tests use the rest of it")]

#[path = "../it/support/earlier.rs"]
pub(crate) mod earlier;
#[path = "../it/support/gateway.rs"]
pub(crate) mod gateway;
#[path = "../it/support/home.rs"]
pub(crate) mod home;
#[path = "../it/support/http.rs"]
pub(crate) mod http;
#[path = "../it/support/origin.rs"]
pub(crate) mod origin;
#[path = "../it/support/people.rs"]
pub(crate) mod people;
#[path = "../it/support/ports.rs"]
pub(crate) mod ports;
#[path = "../it/support/wait.rs"]
pub(crate) mod wait;
