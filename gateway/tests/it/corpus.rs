//! The corpora of the fuzz targets, each file through the function that its target calls.

use std::fs;
use std::path::Path;

use gateway::fuzzing;

/// What is called with a file.
type Target = fn(&[u8]);

#[test]
fn every_file_of_every_corpus_is_taken() {
    let targets: [(&str, Target); 6] = [
        ("template", fuzzing::template),
        ("query", fuzzing::query),
        ("json", fuzzing::json),
        ("base64", fuzzing::base64),
        ("cursor", fuzzing::cursor),
        ("header", fuzzing::header),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in targets {
        assert!(folder.join("fuzz_targets").join(format!("{name}.rs")).exists(), "{name}");
        let corpus = fs::read_dir(folder.join("corpus").join(name)).unwrap();
        let files: Vec<_> = corpus.map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 5, "the corpus of {name} is empty");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            // What it panics with does not name the file.
            println!("{}", file.display());
            target(&bytes);
        }
    }
    let known = fs::read_dir(folder.join("corpus")).unwrap().count();
    assert_eq!(known, targets.len(), "a corpus has no target here");
}
