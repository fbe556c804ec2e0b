//! The rig: the real binary on free ports, callers and reviewers that speak raw HTTP, and upstreams that remember what they saw.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod earlier;
pub(crate) mod gateway;
pub(crate) mod home;
pub(crate) mod http;
pub(crate) mod mcp;
pub(crate) mod mcp_origin;
pub(crate) mod origin;
pub(crate) mod people;
pub(crate) mod ports;
pub(crate) mod rig;
pub(crate) mod rust_source;
pub(crate) mod wait;
