//! Holdpoint: a reverse proxy that judges tool calls against policy and parks the ones that need a human.
//!
//! The modules are layers; each imports only what stands below it (`tests/it/architecture.rs` enforces this):
//!
//! | rank | modules | holds |
//! | --- | --- | --- |
//! | 7 | [`cli`] | commands |
//! | 6 | [`runtime`] | composition root: builds everything, owns tasks, clock, shutdown |
//! | 5 | [`proxy`], [`api`], [`dashboard`] | HTTP in and out |
//! | 4 | [`problem`], [`web`] | the one table from errors to responses; what the API and the page share |
//! | 3 | [`gate`], [`auth`] | use cases: intake, park, decide, release, sweep; credentials |
//! | 2 | [`store`], [`config`], [`telemetry`], [`listener`], [`connect`] | adapters |
//! | 1 | [`protocol`] | bytes to calls; pure |
//! | 0 | [`domain`] | rules of the product; pure |

pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod connect;
pub mod dashboard;
pub mod domain;
pub mod gate;
pub mod listener;
pub mod problem;
pub mod protocol;
pub mod proxy;
pub mod runtime;
pub mod store;
pub mod telemetry;
pub mod web;
