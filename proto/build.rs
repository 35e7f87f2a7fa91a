//! Compiles the `.proto` files with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["tracking.proto", "kpl.proto", "tests/sample.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let mut config = prost_build::Config::new();
    config.type_attribute(".clickgate", "#[derive(serde::Serialize)]");
    // A record taken out of an aggregate shares the aggregate's memory.
    config.bytes([".kpl"]);
    config.compile_fds(descriptors)?;
    Ok(())
}
