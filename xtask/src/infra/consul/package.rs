//! Consul out of Debian 11's own archive, unpacked and not installed.
//!
//! Debian 12 has no package of it, and the one of Debian 11 runs there. apt is pointed at folders of
//! ours and at a copy of the machine's own entry for Debian's archive, with the suite replaced, so
//! that the archive, its proxy and its keys are those that the machine trusts already.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::files::{self, Access};
use crate::infra::program;
use crate::infra::site::Site;

/// Where the program lies, once unpacked, below the site.
pub(super) const PROGRAM: &str = "consul/package/usr/bin/consul";

const SUITE: &str = "bullseye";
const PACKAGE: &str = "consul";

/// A file that names sources: one line each, or fields (sources.list(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    suffix: &'static str,
    text: String,
}

/// The source for Debian 11, if this machine has Debian's archive, apt and dpkg.
pub(super) fn source() -> Option<Source> {
    program::find("apt-get")?;
    program::find("dpkg-deb")?;
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let codename = codename.trim_matches('"');
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<_> = parts.map(|entry| entry.path()).collect();
    files.push("/etc/apt/sources.list".into());
    files.sort();
    files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        if file.extension().is_some_and(|suffix| suffix == "sources") {
            of_fields(&text, codename)
        } else {
            of_lines(&text, codename)
        }
    })
}

/// Fetches and unpacks the package.
pub(super) fn fetch(site: &Site) -> anyhow::Result<()> {
    let source = source().context("this machine does not know Debian's archive")?;
    let folder = site.folder("consul")?;
    let apt = folder.join("apt");
    for below in ["lists/partial", "cache/archives/partial", "download"] {
        std::fs::create_dir_all(apt.join(below))?;
    }
    let list = apt.join(format!("debian-11{}", source.suffix));
    files::write(&list, source.text.as_bytes(), Access::Everybody)?;
    program::output(apt_get(&apt, &list).arg("update"))?;
    program::output(
        apt_get(&apt, &list).args(["download", PACKAGE]).current_dir(apt.join("download")),
    )?;
    let package = std::fs::read_dir(apt.join("download"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|file| file.extension().is_some_and(|suffix| suffix == "deb"))
        .context("apt-get downloaded no package")?;
    let unpacked = folder.join("unpacked");
    files::remove(&unpacked)?;
    program::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked))?;
    files::remove(&folder.join("package"))?;
    std::fs::rename(&unpacked, folder.join("package"))?;
    files::remove(&apt)?;
    ensure!(site.path(PROGRAM).is_file(), "the package holds no {PROGRAM}");
    Ok(())
}

/// apt with folders of its own. As root it would fetch as a user who cannot walk there.
fn apt_get(folder: &Path, list: &Path) -> Command {
    let mut command = Command::new("apt-get");
    for (option, path) in [
        ("Dir::Etc::sourcelist", list),
        ("Dir::Etc::sourceparts", Path::new("-")),
        ("Dir::State::lists", &folder.join("lists")),
        ("Dir::Cache", &folder.join("cache")),
        ("APT::Sandbox::User", Path::new("root")),
    ] {
        command.arg("-o").arg(format!("{option}={}", path.display()));
    }
    command
}

/// `deb [options] uri suite components`.
fn of_lines(text: &str, codename: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let (place, components) = line.trim().split_once(&format!(" {codename} "))?;
        let serves = place.starts_with("deb ") && components.split(' ').any(|name| name == "main");
        let text = format!("{place} {SUITE} main\n");
        serves.then_some(Source { suffix: ".list", text })
    })
}

/// Paragraphs of `Name: value`, with values that go on in indented lines.
fn of_fields(text: &str, codename: &str) -> Option<Source> {
    text.split("\n\n").find_map(|paragraph| {
        let lines: Vec<&str> =
            paragraph.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let value = |name: &str| {
            lines.iter().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.trim().eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let has = |name: &str, word: &str| {
            value(name).is_some_and(|value| value.split_whitespace().any(|each| each == word))
        };
        let serves = has("Types", "deb") && has("Suites", codename) && has("Components", "main");
        let enabled = value("Enabled").is_none_or(|value| value.trim() != "no");
        (serves && enabled).then(|| Source { suffix: ".sources", text: with_suite(&lines) })
    })
}

fn with_suite(lines: &[&str]) -> String {
    let replaced = lines.iter().map(|line| {
        match line.split_once(':').map(|(name, _)| name.trim().to_lowercase()).as_deref() {
            Some("types") => "Types: deb".to_owned(),
            Some("suites") => format!("Suites: {SUITE}"),
            Some("components") => "Components: main".to_owned(),
            _ => (*line).to_owned(),
        }
    });
    replaced.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_entry_is_taken_with_another_suite() {
        let lines = "# deb http://a/debian bookworm main\n\
                     deb http://a/security bookworm-security main\n\
                     deb-src http://a/debian bookworm main\n\
                     deb [signed-by=/k.gpg] http://a/debian bookworm main contrib\n";
        let source = of_lines(lines, "bookworm").unwrap();
        assert_eq!(source.text, "deb [signed-by=/k.gpg] http://a/debian bullseye main\n");
        let fields = "Types: deb\nURIs: http://a/security\nSuites: bookworm-security\nComponents: main\n\n\
                      Types: deb deb-src\n# comment\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main contrib\nSigned-By:\n -----BEGIN\n .\n -----END\n";
        let source = of_fields(fields, "bookworm").unwrap();
        assert_eq!(
            source.text,
            "Types: deb\nURIs: http://a/debian\nSuites: bullseye\nComponents: main\n\
             Signed-By:\n -----BEGIN\n .\n -----END\n"
        );
    }

    #[test]
    fn a_source_of_others_or_one_that_is_off_is_not_taken() {
        assert_eq!(of_lines("deb http://a/tools stable main\n", "bookworm"), None);
        let off = "Enabled: no\nTypes: deb\nURIs: http://a\nSuites: bookworm\nComponents: main\n";
        assert_eq!(of_fields(off, "bookworm"), None);
    }
}
