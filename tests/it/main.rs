//! The one integration test binary. `harness` starts what the tests need; each other module is
//! one part of the law.

mod admin;
mod archives;
mod auth;
mod broker;
mod cli;
mod config;
mod conformance;
mod crowd;
mod day;
mod docs;
mod faults;
mod formats;
mod forms;
mod grpc;
mod harness;
mod history;
mod import;
mod import_rpc;
mod journal;
mod keep_alive;
mod libraries;
mod metrics;
mod model;
mod noise;
mod redis_link;
mod report;
mod status;
mod sync_rpc;
mod tdata;
mod tidy;
mod unruly;
mod verdict;
mod waiting;
mod watch_pool;
