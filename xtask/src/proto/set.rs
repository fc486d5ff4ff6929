//! Contracts as a descriptor set.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

/// Our own contracts. The rest of the folder is imported by them, or is the protocol of a foreign
/// server; neither is ours to promise.
const OURS: &str = "mainstay";

/// Every contract below a folder and what it imports, options kept, comments dropped, as one encoded
/// descriptor set, which is the same on every machine.
pub(super) fn compile(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut files = Vec::new();
    collect(&root.join(OURS), &mut files)?;
    files.sort();
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root.to_path_buf()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(false);
    for file in &files {
        let name = file.strip_prefix(root)?.to_str().context("proto file names are UTF-8")?;
        // The debug form shows the line at fault.
        compiler.open_file(name).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(compiler.encode_file_descriptor_set())
}

/// A descriptor set, to be asked.
pub(super) fn read(set: &[u8]) -> anyhow::Result<DescriptorPool> {
    DescriptorPool::decode(set).context("no descriptor set")
}

/// Whether a file is one of our contracts.
pub(super) fn is_ours(file: &FileDescriptor) -> bool {
    file.name().split('/').next() == Some(OURS)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
