//! Blocks worked out by hand, and the bound on the error of every type.

use proptest::prelude::*;

use super::*;

fn round_trip(kind: TensorType, values: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0; kind.bytes_of(values.len())];
    kind.encode(values, &mut bytes);
    let mut read = vec![f32::NAN; values.len()];
    kind.decode(&bytes, &mut read);
    read
}

#[test]
fn numbers_lead_back_to_types() {
    for kind in TensorType::ALL {
        assert_eq!(TensorType::of_id(kind.id()), Some(kind));
    }
    assert_eq!(TensorType::of_id(3), None);
}

/// 1.0 in half precision is 0x3C00, 0.5 is 0x3800.
#[test]
fn q8_0_by_hand() {
    let mut values = [0f32; 32];
    (values[0], values[1], values[31]) = (127.0, -63.4, 0.5);
    let mut bytes = [0; 34];
    TensorType::Q8_0.encode(&values, &mut bytes);
    let mut expected = [0u8; 34];
    expected[..4].copy_from_slice(&[0x00, 0x3C, 127, (-63i8).cast_unsigned()]);
    // Halves are rounded away from zero.
    expected[33] = 1;
    assert_eq!(bytes, expected);
}

#[test]
fn q4_0_by_hand() {
    let mut values = [0f32; 32];
    (values[0], values[16], values[1]) = (-4.0, 3.5, 4.0);
    let mut bytes = [0; 18];
    TensorType::Q4_0.encode(&values, &mut bytes);
    // Scale 0.5: -4 is step 0; 3.5 is step 15, and so is 4, which has no step of its own.
    let mut expected = [0x88u8; 18];
    expected[..4].copy_from_slice(&[0x00, 0x38, 0xF0, 0x8F]);
    assert_eq!(bytes, expected);
}

#[test]
fn five_bit_blocks_by_hand() {
    let mut values = [0f32; 32];
    (values[0], values[16]) = (-8.0, 7.5);
    let mut bytes = [0; 22];
    TensorType::Q5_0.encode(&values, &mut bytes);
    // Scale 0.5: zeros are step 16, whose fifth bit is set; -8 is step 0 and 7.5 step 31.
    let mut expected = [0u8; 22];
    expected[..7].copy_from_slice(&[0x00, 0x38, 0xFE, 0xFF, 0xFF, 0xFF, 0xF0]);
    assert_eq!(bytes, expected);

    let values: [f32; 32] = std::array::from_fn(|index| 1.0 + index as f32);
    let mut bytes = [0; 24];
    TensorType::Q5_1.encode(&values, &mut bytes);
    // Scale 1, offset 1, steps 0 to 31 in order.
    assert_eq!(bytes[..8], [0x00, 0x3C, 0x00, 0x3C, 0x00, 0x00, 0xFF, 0xFF]);
    assert_eq!(bytes[8..10], [0x00, 0x11]);
    assert_eq!(round_trip(TensorType::Q5_1, &values), values);
}

/// Eight parts, each of all steps, whose scales are multiples of the largest over 63: nothing is lost.
#[test]
fn values_on_the_grid_of_k_blocks_are_kept() {
    for (kind, most) in [(TensorType::Q4K, 15), (TensorType::Q5K, 31)] {
        let values: Vec<f32> = (0..256)
            .map(|index| {
                let (part, step) = (index / 32, index % 32 % (most + 1));
                let scale = [63.0, 1.0, 40.0, 16.0, 63.0, 5.0, 33.0, 62.0][part] / 64.0;
                let minus = [63.0, 0.0, 1.0, 15.0, 16.0, 47.0, 63.0, 32.0][part] / 64.0;
                scale * step as f32 - minus
            })
            .collect();
        let read = round_trip(kind, &values);
        for (read, value) in read.iter().zip(&values) {
            // Offsets of up to a step below zero are found by fitting, to the six bits that they have.
            assert!((read - value).abs() < 0.02, "{kind:?}: {read} for {value}");
        }
    }
    let values: Vec<f32> = (0..256).map(|index| (index % 64) as f32 - 32.0).collect();
    let read = round_trip(TensorType::Q6K, &values);
    for (read, value) in read.iter().zip(&values) {
        assert!((read - value).abs() <= 0.5, "{read} for {value}");
    }
}

#[test]
fn zeros_stay_zeros() {
    for kind in TensorType::ALL {
        assert_eq!(round_trip(kind, &[0.0; 256]), [0.0; 256], "{kind:?}");
    }
}

/// A block of ordinary weights: how much of them each type loses, root mean square. No program packs better by much.
#[test]
fn normal_weights_lose_as_little_as_they_do_elsewhere() {
    // Sums of uniform numbers are nearly normal (Knuth's MMIX generator).
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let values: Vec<f32> = (0..256 * 64).map(|_| (0..12).map(|_| uniform()).sum::<f32>() * 0.02).collect();
    for (kind, most) in [
        (TensorType::Q8_0, 0.0055),
        (TensorType::Q6K, 0.0185),
        (TensorType::Q5K, 0.0375),
        (TensorType::Q4K, 0.0760),
        (TensorType::Q5_1, 0.0420),
        (TensorType::Q5_0, 0.0460),
        (TensorType::Q4_0, 0.0910),
        (TensorType::Bf16, 0.0017),
    ] {
        let read = round_trip(kind, &values);
        let square =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let lost = square(&mut read.iter().zip(&values).map(|(read, value)| read - value));
        let share = (lost / square(&mut values.iter().copied())).sqrt();
        assert!(share < most && share > most / 2.0, "{kind:?} loses {share}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the values: outliers, one sign, all the same, tiny, huge.
    #[test]
    fn no_value_is_off_by_more_than_its_type_allows(
        values in prop::collection::vec(
            prop_oneof![8 => -1f32..1.0, 1 => -40f32..40.0, 1 => Just(0.0), 1 => 0f32..1e-6],
            256,
        ),
        exponent in -9i32..4,
        shift in prop_oneof![3 => Just(0f32), 1 => -3f32..3.0],
    ) {
        let values: Vec<f32> = values.iter().map(|value| (value + shift) * 10f32.powi(exponent)).collect();
        for kind in TensorType::ALL {
            let read = round_trip(kind, &values);
            for (block, read) in values.chunks(kind.block_len()).zip(read.chunks(kind.block_len())) {
                let allowed = kind.largest_error(block);
                for (value, read) in block.iter().zip(read) {
                    let off = (f64::from(*value) - f64::from(*read)).abs();
                    prop_assert!(off <= allowed, "{kind:?}: {read} for {value}, off by {off} > {allowed}");
                }
            }
        }
    }
}
