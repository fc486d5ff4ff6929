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

/// Folders of it that hold protocols of servers which the kernel speaks to: stubs are made of them, but
/// they promise nothing, state no policy and stand in no descriptor set.
const PROTOCOLS: [&str; 1] = ["etcdserverpb"];

/// Name of the descriptor set in the output folder.
const DESCRIPTOR_SET: &str = "contracts.bin";

fn main() -> anyhow::Result<()> {
    for input in [CONTRACTS, "src/kernel/policy/check.rs", "src/kernel/policy/check"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let mut files = Vec::new();
    collect_protos(Path::new(CONTRACTS), &mut files)?;
    // One order on every machine, so that the descriptor set is the same, byte by byte.
    files.sort();
    let (protocols, contracts): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
        PROTOCOLS.iter().any(|folder| file.starts_with(Path::new(CONTRACTS).join(folder)))
    });
    let descriptors = compile(&contracts)?;
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    let faults = check::check_contracts(&pool).iter().map(ToString::to_string).collect::<Vec<_>>();
    anyhow::ensure!(
        faults.is_empty(),
        "the contracts state no sound policy:\n{}",
        faults.join("\n")
    );
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(DESCRIPTOR_SET), &descriptors)?;
    generate(&descriptors)?;
    generate(&compile(&protocols)?)
}

/// Files and all that they import, with comments, as one encoded descriptor set. It keeps the
/// options, which generated types would lose.
fn compile(files: &[PathBuf]) -> anyhow::Result<Vec<u8>> {
    let root = Path::new(CONTRACTS);
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root.to_path_buf()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in files {
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
