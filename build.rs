//! Compiles every contract below `proto/` into stubs and one descriptor set, and refuses contracts
//! whose policy is missing or wrong.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message as _;

#[path = "src/kernel/policy/check.rs"]
mod check;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=src/kernel/policy/check.rs");
    println!("cargo:rerun-if-changed=src/kernel/policy/check");
    let root = Path::new("proto");
    let mut files = Vec::new();
    collect_protos(root, &mut files)?;
    files.sort();

    let mut resolver = protox::file::ChainFileResolver::new();
    resolver.add(protox::file::IncludeFileResolver::new(root.to_path_buf()));
    resolver.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in &files {
        let name = file.strip_prefix(root)?.to_str().context("proto file names are UTF-8")?;
        compiler.open_file(name).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    let encoded = compiler.encode_file_descriptor_set();
    let pool = prost_reflect::DescriptorPool::decode(encoded.as_slice())?;
    let faults = check::check_contracts(&pool);
    if !faults.is_empty() {
        anyhow::bail!("the contracts state no sound policy:\n{}", faults.join("\n"));
    }

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("contracts.bin"), &encoded)?;
    let set = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".google.api.HttpBody")
        .compile_fds_with_config(set, config)?;
    Ok(())
}

fn collect_protos(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
