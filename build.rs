//! Compiles every contract below `proto/` into stubs and one descriptor set, and refuses contracts
//! whose policy is missing or wrong.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

#[path = "src/kernel/policy/check.rs"]
mod check;

/// Where the contracts are.
const CONTRACTS: &str = "proto";

/// Name of the descriptor set in the output folder.
const DESCRIPTOR_SET: &str = "contracts.bin";

fn main() -> anyhow::Result<()> {
    for input in [CONTRACTS, "src/kernel/policy/check.rs", "src/kernel/policy/check"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let descriptors = compile(Path::new(CONTRACTS))?;
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    let faults = check::check_contracts(&pool);
    anyhow::ensure!(
        faults.is_empty(),
        "the contracts state no sound policy:\n{}",
        faults.join("\n")
    );
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(DESCRIPTOR_SET), &descriptors)?;
    generate(&descriptors)
}

/// The contracts and all that they import, with comments, as one encoded descriptor set. It keeps
/// the options, which generated types would lose.
fn compile(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut files = Vec::new();
    collect_protos(root, &mut files)?;
    // One order on every machine, so that the descriptor set is the same, byte by byte.
    files.sort();
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root.to_path_buf()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in &files {
        let name = file.strip_prefix(root)?.to_str().context("proto file names are UTF-8")?;
        // The debug form shows the line at fault.
        compiler.open_file(name).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(compiler.encode_file_descriptor_set())
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

/// Messages, clients and servers. The transport is the kernel's channel, not tonic's.
fn generate(descriptors: &[u8]) -> anyhow::Result<()> {
    let set = prost_types::FileDescriptorSet::decode(descriptors)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".google.api.HttpBody")
        .compile_fds_with_config(set, config)?;
    Ok(())
}
