//! Writes the messages of a descriptor set as Rust: `llm-pool-codegen SET FOLDER`.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(set), Some(folder)) = (words.next(), words.next()) else {
        return Err("expected the file of a descriptor set, and a folder".into());
    };
    let set = prost_types::FileDescriptorSet::decode(&*std::fs::read(set)?)?;
    let mut config = prost_build::Config::new();
    config.out_dir(folder).btree_map(["."]).compile_fds(set)?;
    Ok(())
}
