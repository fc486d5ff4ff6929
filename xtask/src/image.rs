//! `image`: one container image for each service, by whichever of docker and podman works here.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::infra::{Missing, find_program, output, output_of_input};
use crate::mesh::{self, SERVICES, Service};
use crate::upgrade::revision::git;
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
    let builder = BUILDERS.into_iter().find_map(Builder::find).with_context(|| {
        let mend = "sudo apt-get install --yes podman, or start Docker's daemon";
        Missing::new("a builder of images that works (docker, podman)", mend).to_string()
    })?;
    let source = Source::of(&root)?;
    let all = || SERVICES.iter().map(|service| service.name).chain(TOOLS).collect();
    let targets: Vec<_> = args.service.map_or_else(all, |service| vec![service.name]);
    let tag = args.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
    let labels = [("version", tag), ("revision", source.revision.as_str())]
        .map(|(name, value)| format!("org.opencontainers.image.{name}={value}"));
    for target in targets {
        let image = format!("{}/{target}:{tag}", args.repository);
        let status = builder.build(&root, target, &image, &labels, &source).status()?;
        ensure!(status.success(), "{} did not build {target} ({status})", builder.name);
        if builder.is_podman {
            let layer = format!("FROM {image}\nLABEL {}\n", labels.join(" "));
            output_of_input(&mut builder.label(&root, &image, &source), &layer)?;
        }
        // Each build reads the files anew.
        ensure!(
            Source::of(&root)? == source,
            "the source changed while {target} was built, which is labelled {}; mend: build again",
            source.revision
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What an image is made of.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    /// The commit, with `-dirty` behind it where files were changed since.
    revision: String,
    /// When that was committed, in seconds since 1970: the time of the image.
    epoch: String,
}

impl Source {
    fn of(root: &Path) -> anyhow::Result<Self> {
        let said = |args: &[&str]| Ok::<_, anyhow::Error>(git(root, args)?.trim().to_owned());
        Ok(Self {
            revision: said(&["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])?,
            epoch: said(&["log", "-1", "--format=%ct"])?,
        })
    }
}

/// What builds images.
#[derive(Clone, Copy)]
struct Builder {
    name: &'static str,
    /// Podman, under whichever name: there is a `docker` that calls it.
    is_podman: bool,
}

impl Builder {
    /// It, where it is there and can build: the client of a daemon that does not run cannot.
    fn find(name: &'static str) -> Option<Self> {
        let program = find_program(name)?;
        let version = output(Command::new(&program).arg("--version")).ok()?;
        let info =
            Command::new(&program).arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let works = info.is_ok_and(|status| status.success());
        works.then(|| Self { name, is_podman: version.starts_with("podman") })
    }

    /// Builds what is in an image, and with Docker the image.
    fn build(
        self,
        root: &Path,
        target: &str,
        image: &str,
        labels: &[String],
        source: &Source,
    ) -> Command {
        let mut command = self.command(root, image, source);
        command.args(["--target", target]);
        if !self.is_podman {
            command.args(labels.iter().flat_map(|label| ["--label", label]));
        }
        command.arg(".");
        command
    }

    /// Gives an image the labels of a `LABEL` that it reads. Podman would not do so when it builds: of a
    /// program that is what it was it takes the image that there is, with the labels of then.
    fn label(self, root: &Path, image: &str, source: &Source) -> Command {
        let mut command = self.command(root, image, source);
        command.args(["--quiet", "--file", "-", "."]);
        command
    }

    fn command(self, root: &Path, image: &str, source: &Source) -> Command {
        let mut command = Command::new(self.name);
        command.current_dir(root).args(["build", "--tag", image]);
        if self.is_podman {
            // Images of its own format have no HEALTHCHECK.
            command.args(["--format", "docker", "--timestamp", &source.epoch]);
        } else {
            command.arg("--build-arg").arg(format!("SOURCE_DATE_EPOCH={}", source.epoch));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::revision::tests::repository;

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
    fn images_of_others_have_their_whole_name() {
        let file = std::fs::read_to_string(workspace::root().join("Dockerfile")).unwrap();
        let stages: Vec<_> = file
            .lines()
            .filter_map(|line| line.strip_prefix("FROM ")?.split_once(" AS "))
            .collect();
        for (index, (from, _)) in stages.iter().enumerate() {
            let is_ours = stages[..index].iter().any(|(_, name)| name == from);
            let (registry, _) = from.split_once('/').unwrap_or_default();
            assert!(is_ours || *from == "scratch" || registry.contains('.'), "{from}");
        }
    }

    #[test]
    fn an_image_says_what_it_is_made_of() {
        assert_eq!(
            said(Builder { name: "docker", is_podman: false }),
            "build --tag a/b/gateway:7 --build-arg SOURCE_DATE_EPOCH=5 --target gateway \
             --label version=7 --label revision=abc ."
        );
    }

    #[test]
    fn podman_keeps_the_health_check_and_the_time() {
        let podman = Builder { name: "docker", is_podman: true };
        let image = "build --tag a/b/gateway:7 --format docker --timestamp 5";
        assert_eq!(said(podman), format!("{image} --target gateway ."));
        let source = Source { revision: "abc".to_owned(), epoch: "5".to_owned() };
        let label = podman.label(Path::new("/"), "a/b/gateway:7", &source);
        assert_eq!(words(&label), format!("{image} --quiet --file - ."));
    }

    #[test]
    fn a_change_while_images_are_built_is_seen() {
        let folder = repository();
        let run = |args: &[&str]| git(folder.path(), args).unwrap();
        std::fs::write(folder.path().join("file"), "one").unwrap();
        run(&["add", "file"]);
        run(&["commit", "--quiet", "--message", "one"]);
        let source = Source::of(folder.path()).unwrap();
        assert_eq!(Source::of(folder.path()).unwrap(), source);
        std::fs::write(folder.path().join("file"), "two").unwrap();
        let dirty = Source::of(folder.path()).unwrap();
        assert_eq!(dirty.revision, format!("{}-dirty", source.revision));
        run(&["commit", "--quiet", "--all", "--message", "two"]);
        assert_ne!(Source::of(folder.path()).unwrap().revision, source.revision);
    }

    fn said(builder: Builder) -> String {
        let source = Source { revision: "abc".to_owned(), epoch: "5".to_owned() };
        let labels = ["version=7".to_owned(), "revision=abc".to_owned()];
        words(&builder.build(Path::new("/"), "gateway", "a/b/gateway:7", &labels, &source))
    }

    fn words(command: &Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}
