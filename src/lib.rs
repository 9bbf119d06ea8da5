//! Telegate lends scarce, exclusive sessions to one worker at a time.
//!
//! In reading order: [`pool`] has the rules, [`clock`] the time, [`store`] the two engines that
//! run the rules durably, [`credential`] what is lent, [`proto`] the contract, [`inventory`] what
//! operators have, [`keys`] and [`config`] how it is run, [`telemetry`] what it tells, [`server`]
//! serves it all, [`manual`] explains its errors, and [`client`] calls it.

pub mod pool;

pub mod clock;
pub mod store;

pub mod credential;

pub mod proto;

pub mod inventory;

pub mod keys;

pub mod config;
pub mod telemetry;

pub mod server;

pub mod manual;

pub mod client;
