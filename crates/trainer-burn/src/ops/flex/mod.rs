//! Fused kernels for the processor: burn's flex backend, f32.
//!
//! Matrix products go to the gemm crate; what lies between them is computed in one pass over memory, in parallel by
//! rows and vectorised by the compiler for the processor at hand ([`simd`]). Work is split by fixed sizes, never by
//! the number of threads, so that results are bit-identical from run to run.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod amx;
mod attention;
mod cross_entropy;
mod elementwise;
mod matmul;
pub(super) mod simd;
mod weight;

use burn::{
    backend::Flex,
    tensor::{DType, Tensor, TensorData, TensorPrimitive},
};
use burn_flex::FlexTensor;

use super::{AttentionSpec, CrossEntropy, LabelScore, Labels, LoraSpec, Ops, Weight};
pub(super) use matmul::matmul;
use matmul::{Matrix, matmul_add};
use weight::Rows;

#[cfg(target_arch = "x86_64")]
pub use amx::packed_bytes;

/// Without a matrix unit nothing is kept.
#[cfg(not(target_arch = "x86_64"))]
pub fn packed_bytes() -> u64 {
    0
}

impl Ops for Flex {
    const READS_HALVES: bool = true;

    fn project(x: Tensor<Self, 2>, weight: &Weight<Self>) -> Tensor<Self, 2> {
        let (x, weight) = (Buffer::from(x), Rows::from(weight));
        tensor(weight.apply(x.matrix()), [x.rows, weight.rows()])
    }

    fn project_dx(weight: &Weight<Self>, dy: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let (weight, dy) = (Rows::from(weight), Buffer::from(dy));
        tensor(weight.apply_transposed(dy.matrix()), [dy.rows, weight.columns()])
    }

    fn project_dweight(x: Tensor<Self, 2>, dy: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let (x, dy) = (Buffer::from(x), Buffer::from(dy));
        tensor(matmul(dy.matrix().transposed(), x.matrix()), [dy.columns, x.columns])
    }

    fn lora_linear(
        x: Tensor<Self, 2>,
        weight: &Weight<Self>,
        a: Tensor<Self, 2>,
        b: Tensor<Self, 2>,
        lora: LoraSpec,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let ([x, a, b], weight) = ([x, a, b].map(Buffer::from), Rows::from(weight));
        let dropped = lora.dropout.map(|dropout| elementwise::dropped(x.values(), dropout));
        let input = Matrix::new(dropped.as_deref().unwrap_or(x.values()), x.rows, x.columns);
        let low = matmul(input, a.matrix().transposed());
        let mut y = weight.apply(x.matrix());
        matmul_add(&mut y, Matrix::new(&low, x.rows, a.rows), b.matrix().transposed(), lora.scale);
        (tensor(y, [x.rows, weight.rows()]), tensor(low, [x.rows, a.rows]))
    }

    fn lora_linear_backward(
        x: Tensor<Self, 2>,
        weight: &Weight<Self>,
        a: Tensor<Self, 2>,
        b: Tensor<Self, 2>,
        low: Tensor<Self, 2>,
        lora: LoraSpec,
        dy: Tensor<Self, 2>,
        needs_dx: bool,
    ) -> (Option<Tensor<Self, 2>>, Tensor<Self, 2>, Tensor<Self, 2>) {
        let [x, a, b, low, dy] = [x, a, b, low, dy].map(Buffer::from);
        let mut dlow = matmul(dy.matrix(), b.matrix());
        scale(&mut dlow, lora.scale);
        let dlow = Matrix::new(&dlow, dy.rows, b.columns);
        let mut db = matmul(dy.matrix().transposed(), low.matrix());
        scale(&mut db, lora.scale);
        let dropped = lora.dropout.map(|dropout| elementwise::dropped(x.values(), dropout));
        let input = Matrix::new(dropped.as_deref().unwrap_or(x.values()), x.rows, x.columns);
        let da = matmul(dlow.transposed(), input);
        let dx = needs_dx.then(|| {
            let mut dx = Rows::from(weight).apply_transposed(dy.matrix());
            match lora.dropout {
                None => matmul_add(&mut dx, dlow, a.matrix(), 1.0),
                Some(dropout) => elementwise::add_dropped(&mut dx, &matmul(dlow, a.matrix()), dropout),
            }
            tensor(dx, [x.rows, x.columns])
        });
        (dx, tensor(da, [a.rows, a.columns]), tensor(db, [b.rows, b.columns]))
    }

    fn rms_norm(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, eps: f32) -> Tensor<Self, 2> {
        let (x, weight) = (Buffer::from(x), Buffer::from(weight));
        tensor(elementwise::rms_norm(x.values(), weight.values(), eps), [x.rows, x.columns])
    }

    fn rms_norm_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        eps: f32,
        dy: Tensor<Self, 2>,
        needs_dweight: bool,
    ) -> (Tensor<Self, 2>, Option<Tensor<Self, 2>>) {
        let [x, weight, dy] = [x, weight, dy].map(Buffer::from);
        let dx = elementwise::rms_norm_dx(x.values(), weight.values(), eps, dy.values());
        let dweight = needs_dweight.then(|| {
            let dweight = elementwise::rms_norm_dweight(x.values(), x.columns, eps, dy.values());
            tensor(dweight, [1, x.columns])
        });
        (tensor(dx, [x.rows, x.columns]), dweight)
    }

    fn swiglu(gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let (gate, up) = (Buffer::from(gate), Buffer::from(up));
        tensor(elementwise::swiglu(gate.values(), up.values()), [gate.rows, gate.columns])
    }

    fn swiglu_backward(
        gate: Tensor<Self, 2>,
        up: Tensor<Self, 2>,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let [gate, up, dy] = [gate, up, dy].map(Buffer::from);
        let (dgate, dup) = elementwise::swiglu_backward(gate.values(), up.values(), dy.values());
        let shape = [gate.rows, gate.columns];
        (tensor(dgate, shape), tensor(dup, shape))
    }

    fn causal_attention(
        q: Tensor<Self, 2>,
        k: Tensor<Self, 2>,
        v: Tensor<Self, 2>,
        spec: &AttentionSpec,
    ) -> Tensor<Self, 2> {
        let [q, k, v] = [q, k, v].map(Buffer::from);
        let out = attention::forward(q.values(), k.values(), v.values(), spec);
        tensor(out, [q.rows, q.columns])
    }

    fn causal_attention_backward(
        q: Tensor<Self, 2>,
        k: Tensor<Self, 2>,
        v: Tensor<Self, 2>,
        spec: &AttentionSpec,
        dy: Tensor<Self, 2>,
    ) -> [Tensor<Self, 2>; 3] {
        let [q, k, v, dy] = [q, k, v, dy].map(Buffer::from);
        let [dq, dk, dv] = attention::backward(q.values(), k.values(), v.values(), spec, dy.values());
        [tensor(dq, [q.rows, q.columns]), tensor(dk, [k.rows, k.columns]), tensor(dv, [v.rows, v.columns])]
    }

    fn linear_cross_entropy_gradients(
        hidden: Tensor<Self, 2>,
        weight: &Weight<Self>,
        labels: &Labels,
        needs_dweight: bool,
    ) -> CrossEntropy<Self> {
        let (hidden, weight) = (Buffer::from(hidden), Rows::from(weight));
        let out = cross_entropy::gradients(hidden.matrix(), &weight, labels, needs_dweight);
        CrossEntropy {
            loss: tensor(vec![out.loss], [1, 1]),
            scores: tensor(out.scores, [labels.rows.len(), 2]),
            dhidden: tensor(out.dhidden, [hidden.rows, hidden.columns]),
            dweight: out.dweight.map(|dweight| tensor(dweight, [weight.rows(), weight.columns()])),
        }
    }

    fn score_labels(hidden: Tensor<Self, 2>, weight: &Weight<Self>, labels: &Labels) -> Vec<LabelScore> {
        cross_entropy::scores(Buffer::from(hidden).matrix(), &Rows::from(weight), labels)
    }
}

/// A contiguous row-major f32 matrix, borrowed from flex's reference-counted storage.
pub(super) struct Buffer {
    tensor: FlexTensor,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Buffer {
    pub(super) fn values(&self) -> &[f32] {
        // Contiguous and f32 by construction.
        self.tensor.as_slice().unwrap_or_default()
    }

    pub(super) fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.values(), self.rows, self.columns)
    }

    pub(super) fn into_tensor(self) -> Tensor<Flex, 2> {
        Tensor::from_primitive(TensorPrimitive::Float(self.tensor))
    }
}

impl From<Tensor<Flex, 2>> for Buffer {
    fn from(tensor: Tensor<Flex, 2>) -> Self {
        let [rows, columns] = tensor.dims();
        let tensor = tensor.cast(DType::F32).into_primitive().tensor();
        let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        Self { tensor, rows, columns }
    }
}

pub(super) fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<Flex, 2> {
    let primitive = FlexTensor::from_data(TensorData::new(values, shape));
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}
