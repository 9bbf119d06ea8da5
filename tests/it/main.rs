//! The one integration test binary. `harness` starts what the tests need; each other module is
//! one part of the law.

mod auth;
mod broker;
mod cli;
mod config;
mod conformance;
mod grpc;
mod harness;
mod import;
mod model;
mod redis_link;
mod status;
mod tidy;
mod unruly;
