//! The one integration test binary. `harness` starts what the tests need; each other module is
//! one part of the law.

mod config;
mod conformance;
mod harness;
mod model;
mod redis_link;
mod tidy;
