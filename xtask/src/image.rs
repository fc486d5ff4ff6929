//! `image`: one container image for each service, by whichever of docker and podman works here.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::infra::{Missing, find_program, output};
use crate::mesh::{self, SERVICES, Service};
use crate::workspace;

/// What builds images, the preferred one first.
const BUILDERS: [&str; 2] = ["docker", "podman"];

/// Images that are built beside those of the services.
const TOOLS: [&str; 1] = ["mainstayctl"];

/// Which images to build.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The service; all of them, and mainstayctl, when absent.
    #[arg(value_parser = mesh::parse_service)]
    service: Option<&'static Service>,
    /// What stands before the service in an image's name: registry and path.
    #[arg(long, value_name = "PATH", default_value = "mainstay")]
    repository: String,
    /// The tag; the version of the workspace when absent.
    #[arg(long)]
    tag: Option<String>,
}

/// Builds them.
pub(crate) fn run(args: &ImageArgs) -> anyhow::Result<ExitCode> {
    let root = workspace::root();
    let builder = BUILDERS.into_iter().find(|name| works(name));
    let builder = builder.with_context(|| {
        let mend = "sudo apt-get install --yes podman, or start Docker's daemon";
        Missing::new("a builder of images that works (docker, podman)", mend).to_string()
    })?;
    let git = |arguments: &[&str]| {
        let said = output(Command::new("git").current_dir(&root).args(arguments))?;
        Ok::<_, anyhow::Error>(said.trim().to_owned())
    };
    let source = Source {
        revision: git(&["rev-parse", "HEAD"])?,
        epoch: git(&["log", "-1", "--format=%ct"])?,
    };
    let all = || SERVICES.iter().map(|service| service.name).chain(TOOLS).collect();
    let targets: Vec<_> = args.service.map_or_else(all, |service| vec![service.name]);
    for target in targets {
        let status = command(builder, &root, target, args, &source).status()?;
        ensure!(status.success(), "{builder} did not build {target} ({status})");
    }
    Ok(ExitCode::SUCCESS)
}

/// What an image is made of.
struct Source {
    revision: String,
    /// When that was committed, in seconds since 1970: the only time in an image.
    epoch: String,
}

fn command(builder: &str, root: &Path, target: &str, args: &ImageArgs, source: &Source) -> Command {
    let tag = args.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
    let mut command = Command::new(builder);
    command.current_dir(root).args(["build", "--target", target]);
    command.arg("--tag").arg(format!("{}/{target}:{tag}", args.repository));
    for (name, value) in
        [("VERSION", tag), ("REVISION", &source.revision), ("SOURCE_DATE_EPOCH", &source.epoch)]
    {
        command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    command.arg(".");
    command
}

/// Whether it is there and can build: the client of a daemon that does not run cannot.
fn works(name: &str) -> bool {
    let info = |program| {
        Command::new(program).arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    find_program(name).is_some_and(|program| info(program).is_ok_and(|status| status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_target_with_its_own_binary_and_no_root() {
        let file = std::fs::read_to_string(workspace::root().join("Dockerfile")).unwrap();
        for Service { name, binary, .. } in &SERVICES {
            let target =
                file.split("\nFROM ").find(|stage| stage.starts_with(&format!("base AS {name}\n")));
            let target = target.unwrap_or_else(|| panic!("no target {name}"));
            assert!(
                target.contains(&format!("ENTRYPOINT [\"/usr/local/bin/{binary}\"]")),
                "{target}"
            );
            assert!(target.contains(&format!("\"/usr/local/bin/{binary}\", \"healthcheck\"")));
        }
        let base =
            file.split("\nFROM ").find(|stage| stage.starts_with("scratch AS base")).unwrap();
        assert!(base.contains("\nUSER 65532:65532\n"), "{base}");
        assert!(file.contains("cargo auditable build"), "programs list what they are made of");
    }

    #[test]
    fn an_image_says_what_it_is_made_of() {
        let args =
            ImageArgs { service: None, repository: "a/b".to_owned(), tag: Some("7".to_owned()) };
        let source = Source { revision: "abc".to_owned(), epoch: "5".to_owned() };
        let command = command("podman", Path::new("/"), "gateway", &args, &source);
        let said: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        let said = said.join(" ");
        assert_eq!(
            said,
            "build --target gateway --tag a/b/gateway:7 --build-arg VERSION=7 --build-arg REVISION=abc \
             --build-arg SOURCE_DATE_EPOCH=5 ."
        );
    }
}
