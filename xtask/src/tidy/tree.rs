//! The files of the repository, read once.

use std::path::Path;

use anyhow::Context as _;

/// Folders whose content is nobody's source. Hidden folders are left out but for those below.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];
/// Hidden folders that belong to the repository.
const HIDDEN: [&str; 3] = [".cargo", ".ci", ".github"];

/// A text file.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Path below the root, with `/`.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
}

/// Every text file of a repository, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    files: Vec<SourceFile>,
}

impl Tree {
    /// Reads a repository.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    /// Every file.
    pub(super) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file of a path.
    pub(super) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files that end so, such as `.rs`.
    pub(super) fn ending(&self, suffix: &str) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(move |file| file.path.ends_with(suffix))
    }

    /// A module: `<path>.rs` and all Rust below `<path>/`.
    pub(super) fn module(&self, path: &str) -> impl Iterator<Item = &SourceFile> {
        let (file, folder) = (format!("{path}.rs"), format!("{path}/"));
        self.ending(".rs")
            .filter(move |source| source.path == file || source.path.starts_with(&folder))
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("{} cannot be read", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
                if !hidden && !LEFT_OUT.contains(&name.as_str()) {
                    self.read_folder(&entry.path(), &format!("{path}/"))?;
                }
            } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                // What is not UTF-8 is a picture or the like.
                self.files.push(SourceFile { path, text });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of the given files, written to a folder and read back.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self::read(folder.path()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_its_file_and_its_folder() {
        let tree = Tree::of(&[
            ("a/src/domain.rs", ""),
            ("a/src/domain/user.rs", ""),
            ("a/src/domain_of_others.rs", ""),
            ("target/debug/build.rs", ""),
            (".git/config", ""),
            (".ci/run", ""),
        ]);
        let module: Vec<_> = tree.module("a/src/domain").map(|file| file.path.as_str()).collect();
        assert_eq!(module, ["a/src/domain.rs", "a/src/domain/user.rs"]);
        assert_eq!(tree.files().len(), 4);
    }
}
