//! Compiles the protos, in pure Rust, and nothing else.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

/// Messages that carry secrets: `src/proto.rs` writes their `Debug`.
const SECRETS: [&str; 17] = [
    "telegate.v1.Credential",
    "telegate.v1.Credential.value",
    "telegate.v1.TelegramCredential",
    "telegate.v1.DeviceProfile",
    "telegate.v1.Session",
    "telegate.v1.Lease",
    "telegate.v1.RenewRequest",
    "telegate.v1.ReleaseRequest",
    "telegate.v1.ReportRequest",
    "telegate.v1.InvalidateRequest",
    "telegate.v1.InvalidateRequest.target",
    "telegate.v1.KeepAliveRequest",
    "telegate.v1.KeepAliveResponse",
    "telegate.v1.RevokeLeasesRequest",
    "telegate.v1.RevokeLeasesRequest.target",
    "telegate.v1.ImportSessionsRequest",
    "telegate.v1.ImportSessionsRequest.part",
];

const PROTOS: [&str; 4] = [
    "telegate/v1/error_reason.proto",
    "telegate/v1/resources.proto",
    "telegate/v1/session_pool.proto",
    "telegate/v1/session_admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let encoded = descriptors.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &encoded)?;

    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .btree_map(".")
        .skip_debug(SECRETS)
        .codec_path("crate::proto::Codec")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .btree_map(["."])
        .emit_fields()
        .build(&[".telegate.v1"])?;
    Ok(())
}
