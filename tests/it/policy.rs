//! The contract's policy: what is refused, what is enforced.

mod access;
mod check;
mod stream;
mod validation;

use mainstay::kernel::policy::PolicyTable;
use prost_reflect::{DescriptorPool, DynamicMessage};

/// Package of the contracts that tests write.
const PACKAGE: &str = "mainstay.sample.v1";

/// Name of their file.
const FILE: &str = "mainstay/sample/v1/sample.proto";

/// Compiles the body of a contract, as the build would.
fn compile(body: &str) -> DescriptorPool {
    let source = format!(
        "syntax = \"proto3\"; package {PACKAGE};
        import \"buf/validate/validate.proto\"; import \"google/api/annotations.proto\";
        import \"google/protobuf/timestamp.proto\"; import \"mainstay/policy/v1/policy.proto\";
        {body}"
    );
    let mut files = protox::file::ChainFileResolver::new();
    files.add(InMemory(source));
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    files.add(protox::file::IncludeFileResolver::new(root));
    files.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(FILE).unwrap_or_else(|error| panic!("{error:?}"));
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

struct InMemory(String);

impl protox::file::FileResolver for InMemory {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        match name {
            FILE => protox::file::File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The wire bytes of a message written as JSON.
fn wire(pool: &DescriptorPool, type_name: &str, json: &serde_json::Value) -> Vec<u8> {
    let descriptor = pool.get_message_by_name(type_name).unwrap();
    let message = DynamicMessage::deserialize(descriptor, json).unwrap();
    prost::Message::encode_to_vec(&message)
}

#[test]
fn the_contracts_of_the_platform_compile() {
    let pool = mainstay::contract::pool();
    let table = PolicyTable::compile(pool).unwrap();
    let methods: usize = pool
        .services()
        .filter(mainstay::kernel::policy::check::is_governed)
        .map(|service| service.methods().len())
        .sum();
    assert_eq!(table.methods().count(), methods);
    assert!(methods > 30 && table.permissions().contains("identity.users.read"));
    assert!(table.method("/mainstay.identity.v1.UserService/NoSuchMethod").is_none());
}
