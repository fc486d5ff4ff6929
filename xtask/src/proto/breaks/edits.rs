//! Edits of contracts: what breaks is named with its mend, what does not is let through.

mod messages;
mod rest;

use prost_reflect::DescriptorPool;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

use super::find;
use crate::workspace;

const NAME: &str = "mainstay/shop/v1/shop.proto";
const HEAD: &str = "syntax = \"proto3\";
    package mainstay.shop.v1;
    import \"google/api/annotations.proto\";
    import \"mainstay/policy/v1/policy.proto\";
";

/// What a contract was, and what it became.
struct Edit {
    was: &'static str,
    is: &'static str,
}

const fn edit(was: &'static str, is: &'static str) -> Edit {
    Edit { was, is }
}

/// Each edit is one break, which reads so after the names of file and package.
fn breaks(edits: &[(Edit, &str)]) {
    for (Edit { was, is }, wanted) in edits {
        let found: Vec<_> = find(&pool(was), &pool(is)).iter().map(ToString::to_string).collect();
        let wanted = format!("proto/{NAME}: mainstay.shop.v1.{wanted}");
        assert_eq!(found, [wanted], "from {was}\nto {is}");
    }
}

/// Each edit breaks nothing.
fn compatible(edits: &[Edit]) {
    for Edit { was, is } in edits {
        let found: Vec<_> = find(&pool(was), &pool(is)).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "from {was}\nto {is}\n{}", found.join("\n"));
    }
}

/// The contract in the shop's package; text that states a package of its own stands as it is.
fn pool(text: &str) -> DescriptorPool {
    let text = if text.starts_with("syntax") { text.to_owned() } else { format!("{HEAD}{text}") };
    let mut resolver = ChainFileResolver::new();
    resolver.add(Source(text));
    resolver.add(IncludeFileResolver::new(workspace::root().join("proto")));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(NAME).unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == NAME {
            return File::from_source(name, &self.0);
        }
        Err(protox::Error::file_not_found(name))
    }
}
