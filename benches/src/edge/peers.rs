//! Installing the peers: structured-proxy from crates.io, grpc-gateway generated from the contract.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse};

/// The file that code is generated for.
const FILE: &str = "edge/v1/edge.proto";

/// Generators of Go.
const GENERATORS: [&str; 3] = [
    "google.golang.org/protobuf/cmd/protoc-gen-go",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway",
];

/// What each of them is told: our copies of Google's files do not say where their Go is.
const PARAMETER: &str = "paths=source_relative,\
    Mgoogle/api/annotations.proto=google.golang.org/genproto/googleapis/api/annotations,\
    Mgoogle/api/http.proto=google.golang.org/genproto/googleapis/api/annotations";

/// The program around what is generated.
const MAIN: &str = include_str!("../../peers/grpc-gateway/main.go");

/// Installs what is missing into a folder.
pub(super) fn install(folder: &Path, descriptors: &[u8]) -> anyhow::Result<()> {
    let folder = std::path::absolute(folder)?;
    if !folder.join("bin/structured-proxy").is_file() {
        run(Command::new("cargo")
            .args(["install", "structured-proxy", "--features", "cli", "--ignore-rust-version"])
            .arg("--root")
            .arg(&folder)
            .env("CARGO_TARGET_DIR", folder.join("structured-proxy")))?;
    }
    if !folder.join("bin/grpc-gateway").is_file() {
        grpc_gateway(&folder, descriptors)?;
    }
    Ok(())
}

fn grpc_gateway(folder: &Path, descriptors: &[u8]) -> anyhow::Result<()> {
    let (bin, source) = (folder.join("bin"), folder.join("grpc-gateway"));
    let generated = source.join("edgev1");
    std::fs::create_dir_all(&generated)?;
    for package in GENERATORS {
        run(Command::new("go").args(["install", &format!("{package}@latest")]).env("GOBIN", &bin))?;
        let name = package.rsplit('/').next().unwrap_or(package);
        for file in generate(&bin.join(name), descriptors)?.file {
            let path = Path::new(file.name()).file_name().context("a file without a name")?;
            std::fs::write(generated.join(path), file.content())?;
        }
    }
    std::fs::write(source.join("main.go"), MAIN)?;
    std::fs::write(source.join("go.mod"), "module edge\n\ngo 1.23\n")?;
    run(Command::new("go").args(["mod", "tidy"]).current_dir(&source))?;
    let output = bin.join("grpc-gateway");
    run(Command::new("go").arg("build").arg("-o").arg(output).arg(".").current_dir(&source))
}

/// Runs a generator, which takes a request on its standard input.
fn generate(generator: &Path, descriptors: &[u8]) -> anyhow::Result<CodeGeneratorResponse> {
    let mut request = CodeGeneratorRequest {
        file_to_generate: vec![FILE.to_owned()],
        parameter: Some(PARAMETER.to_owned()),
        ..CodeGeneratorRequest::default()
    }
    .encode_to_vec();
    // The files as they came: decoded and encoded again they would lose the options of extensions.
    // Field 15 of the request takes what field 1 of the set has.
    for file in files(descriptors)? {
        prost::encoding::bytes::encode(15, &file, &mut request);
    }
    let mut child = Command::new(generator)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", generator.display()))?;
    child.stdin.take().context("no standard input")?.write_all(&request)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{} failed ({})", generator.display(), output.status);
    let response = CodeGeneratorResponse::decode(output.stdout.as_slice())?;
    ensure!(response.error.is_none(), "{}: {}", generator.display(), response.error());
    Ok(response)
}

/// The encoded files of a set, in their order.
fn files(set: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Raw {
        #[prost(bytes = "vec", repeated, tag = "1")]
        file: Vec<Vec<u8>>,
    }
    FileDescriptorSet::decode(set)?;
    Ok(Raw::decode(set)?.file)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("{shown} cannot be started"))?;
    ensure!(status.success(), "{shown} failed ({status})");
    Ok(())
}
