//! Generates the Rust side of the `.proto` files, without needing `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["orch/v1/common.proto", "orch/v1/peers.proto", "orch/v1/clients.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
