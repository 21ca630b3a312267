//! Damage to a file that was written is found, wherever it is.

use std::fs;

use greentune_model_folder::ModelWeights;

use super::{header::padded, reader::GgufFile, *};
use crate::{
    content::WrittenFile,
    export::export,
    format::Source,
    peft::{self, AdapterConfig, Adapters, LoraPair},
    staging::sha256_of,
    verify::Verification,
};

#[test]
fn damage_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let pair = LoraPair {
        module: "model.layers.0.self_attn.q_proj".into(),
        rank: 1,
        in_features: 192,
        out_features: 192,
        a: vec![0.1; 192],
        b: vec![0.1; 192],
        magnitude: None,
    };
    let adapters = dir.path().join("adapters");
    peft::write(&adapters, &AdapterConfig::lora(1, 1.0, 0.0, vec!["q_proj".into()]), &[pair]).unwrap();
    let request = ExportRequest {
        base_model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/base-model"),
        base_model_name: None,
        adapters: adapters.clone(),
        format: ExportFormat::Gguf,
        destination: dir.path().join("export"),
        replace: false,
        merge: true,
        quantization: Some(Quantization::Q8_0),
        max_shard_size: None,
        readable_copy: false,
        model_card: None,
    };
    export(&request).unwrap();
    let path = request.destination.join(MODEL_FILE);
    let whole = fs::read(&path).unwrap();
    let (base, adapters) =
        (ModelWeights::open(&request.base_model).unwrap(), Adapters::open(&adapters).unwrap());
    let plan = Gguf.plan(Source { request: &request, base: &base, adapters: &adapters }).unwrap();
    let proof_of = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let written = WrittenFile { name: MODEL_FILE, path: &path, sha256: &sha256_of(&path).unwrap().0 };
        plan[0].content.prove(&written, &mut Verification::default())
    };
    proof_of(&whole).unwrap();
    // The last tensor is a norm in F32; the embedding in Q8_0 is the first.
    let embedding = whole.windows(18).position(|bytes| bytes == b"token_embd.weight\x02").unwrap();
    let tensors = GgufFile::open(&path).unwrap().tensors;
    let end = tensors.iter().map(|tensor| tensor.offset + padded(tensor.bytes())).max().unwrap();
    let data_start = whole.len() - end as usize;
    for (at, flip) in
        [(0, 1), (12, 1), (60, 1), (embedding, 1), (data_start + 40_000, 0x40), (whole.len() - 1, 0x40)]
    {
        let mut damaged = whole.clone();
        damaged[at] ^= flip;
        assert!(proof_of(&damaged).is_err(), "{at} of {}", whole.len());
    }
    assert!(proof_of(&whole[..whole.len() - 32]).is_err());
    assert!(proof_of(&[&whole[..], &[0; 32]].concat()).is_err());
}
