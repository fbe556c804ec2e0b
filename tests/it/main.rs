//! One binary for all integration tests: a module for each behaviour.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, clocks and the environment on their own; the product takes them as arguments"
)]

mod api;
mod architecture;
mod authorisation;
mod chromium;
mod cli;
mod dashboard;
mod demo;
mod detached;
mod events;
mod examples;
mod guarantees;
mod hold;
mod mcp;
mod operations;
mod pages;
mod parking;
mod policy_api;
mod readme;
mod reload;
mod shutdown;
mod stdio;
mod store_conformance;
mod support;
mod tls;
mod tools;
