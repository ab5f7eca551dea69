//! Operators that look at a whole model before its first tensor, on several tensors in memory.

use super::mixing::{FIXTURE, assert_near, word};
use super::*;
use crate::operator::pieces::pieces;
use crate::tensor::dtype::DType;

/// A model of several tensors and what becomes of it.
struct Several {
    operator: &'static str,
    parameters: Parameters,
    tensors: Vec<(String, Vec<usize>)>,
    base: Option<Vec<Vec<f32>>>,
    parents: Vec<Vec<Vec<f32>>>,
}

struct Made {
    children: Vec<Vec<f32>>,
    survey: Parameters,
    realised: Vec<Parameters>,
}

impl Several {
    /// Inputs like the fixture's.
    fn new(operator: &str, tensors: &[(String, Vec<usize>)], parents: u64) -> Self {
        let model = |seed: u64| {
            let tensor = |(i, (_, shape)): (usize, &(String, Vec<usize>))| {
                values(seed + 100 * i as u64, shape.iter().product(), 2_f64.powi(-20))
            };
            tensors.iter().enumerate().map(tensor).collect()
        };
        let operator = find(operator).unwrap();
        Self {
            operator: operator.name(),
            parameters: Parameters::new(),
            tensors: tensors.to_vec(),
            base: operator.needs_base().then(|| model(1000)),
            parents: (0..parents).map(model).collect(),
        }
    }

    fn run(&self) -> Result<Made, OperatorError> {
        self.run_with(|_, _| {})
    }

    /// `rule` may change the parameters of a tensor.
    fn run_with(&self, rule: impl Fn(&str, &mut Parameters)) -> Result<Made, OperatorError> {
        let operator = find(self.operator).unwrap();
        let shapes: Vec<Shape> =
            self.tensors.iter().map(|(_, shape)| Shape::new(shape.clone()).unwrap()).collect();
        let boxed = |values: &Vec<f32>| -> Box<dyn Source> { Box::new(Memory(values.clone())) };
        let inputs = |i: usize| {
            let mut parameters = self.parameters.clone();
            rule(&self.tensors[i].0, &mut parameters);
            Ok(TensorInputs {
                name: &self.tensors[i].0,
                shape: &shapes[i],
                dtype: DType::F32,
                base: self.base.as_ref().map(|base| boxed(&base[i])),
                base_name: "base",
                parents: self.parents.iter().map(|parent| boxed(&parent[i])).collect(),
                parent_names: vec!["p"; self.parents.len()],
                values: check(operator, &parameters, &[], self.parents.len())?,
                purpose: ["seed", operator.name(), "child"],
            })
        };
        let tensors: Vec<_> = (0..shapes.len()).map(inputs).collect::<Result<_, OperatorError>>()?;
        let survey = operator.survey(&tensors)?;
        let mut made = Made { children: Vec::new(), survey: survey.clone(), realised: Vec::new() };
        for (i, tensor) in tensors.iter().enumerate() {
            let kernel = operator.kernel(tensor, &survey)?;
            let mut child = vec![0.0; tensor.shape.elements()];
            for range in pieces(tensor.shape.columns(), 0..child.len()) {
                let parents: Vec<&[f32]> =
                    self.parents.iter().map(|parent| &parent[i][range.clone()]).collect();
                let base = self.base.as_ref().map_or(&[][..], |base| &base[i][range.clone()]);
                let piece = Piece { first: range.start, base, parents: &parents };
                kernel.piece(&piece, &mut child[range]);
            }
            made.children.push(child);
            made.realised.push(kernel.realised());
        }
        Ok(made)
    }
}

#[derive(Deserialize)]
struct Models {
    tensors: Vec<(String, Vec<usize>)>,
    models: Vec<ModelCase>,
}

#[derive(Deserialize)]
struct ModelCase {
    operator: String,
    parents: u64,
    parameters: Parameters,
    found: Parameters,
    sha256: Vec<String>,
}

fn models() -> Models {
    serde_json::from_str(FIXTURE).unwrap()
}

#[test]
fn whole_models_computed_elsewhere() {
    let Models { tensors, models } = models();
    for case in models {
        let label = format!("{} {:?}", case.operator, case.parameters);
        let several = Several::new(&case.operator, &tensors, case.parents);
        let made = Several { parameters: case.parameters, ..several }.run().unwrap();
        for (i, child) in made.children.iter().enumerate() {
            let bytes: Vec<u8> = child.iter().flat_map(|value| (value + 0.0).to_le_bytes()).collect();
            assert_eq!(Sha256::of(&bytes).to_hex(), case.sha256[i], "{label}, {}", tensors[i].0);
        }
        assert_eq!(made.survey.keys().collect::<Vec<_>>(), case.found.keys().collect::<Vec<_>>(), "{label}");
        for (name, expected) in &case.found {
            assert_near(&made.survey[name], expected, &format!("{label}, {name}"));
        }
    }
}

#[test]
fn a_layer_comes_whole_from_one_parent() {
    let tensors: Vec<(String, Vec<usize>)> =
        (0..12).flat_map(|i| ["wq", "wk", "w1"].map(|w| (format!("layers.{i}.{w}"), vec![3, 5]))).collect();
    let mut several = Several::new("crossover", &tensors, 2);
    several.parameters.insert("unit".to_owned(), word("layer"));
    let made = several.run().unwrap();
    let from =
        |tensor: usize| (0..2).find(|parent| several.parents[*parent][tensor] == made.children[tensor]);
    let layers: Vec<_> = (0..12).map(|layer| [0, 1, 2].map(|tensor| from(3 * layer + tensor))).collect();
    for layer in &layers {
        assert!(layer[0].is_some() && layer[0] == layer[1] && layer[1] == layer[2], "{layers:?}");
    }
    assert!(layers.iter().any(|layer| layer[0] != layers[0][0]), "twelve draws were alike");
}

#[test]
fn points_cut_the_model_so_many_times() {
    let tensors: Vec<(String, Vec<usize>)> = (0..9).map(|i| (format!("t{i}"), vec![11, 4])).collect();
    for points in [1, 2, 7, 50, 98] {
        let mut several = Several::new("crossover", &tensors, 3);
        several.parameters.insert("scheme".to_owned(), word(&format!("n_point:{points}")));
        let made = several.run().unwrap();
        let rows = (0..9).flat_map(|tensor| (0..11).map(move |row| (tensor, row * 4..row * 4 + 4)));
        let parents: Vec<usize> = rows
            .map(|(tensor, row)| {
                let is = |parent: &Vec<Vec<f32>>| {
                    parent[tensor][row.clone()] == made.children[tensor][row.clone()]
                };
                several.parents.iter().position(is).unwrap()
            })
            .collect();
        assert_eq!(parents[0], 0);
        let changes: Vec<_> = parents.windows(2).filter(|pair| pair[0] != pair[1]).collect();
        assert_eq!(changes.len(), points);
        assert!(changes.iter().all(|pair| pair[1] == (pair[0] + 1) % 3), "parents take turns");
    }
    let mut several = Several::new("crossover", &tensors, 3);
    several.parameters.insert("scheme".to_owned(), word("n_point:99"));
    let error = several.run().err().unwrap().to_string();
    assert_eq!(error, "crossover: `n_point:99` cuts between units, and the model has only 99");
}

#[test]
fn what_holds_for_the_model_cannot_differ_by_tensor() {
    let tensors = [("a".to_owned(), vec![4]), ("b".to_owned(), vec![4])];
    let cases = [
        ("soup", "alpha", Value::Number(3.0)),
        ("federated", "samples", Value::PerParent(vec![1.0, 4.0])),
        ("federated", "clip_norm", Value::Number(3.0)),
        ("crossover", "scheme", word("n_point:1")),
    ];
    for (operator, name, value) in cases {
        let several = Several::new(operator, &tensors, 2);
        let made = several.run_with(|tensor, parameters| {
            if tensor == "b" {
                parameters.insert(name.to_owned(), value.clone());
            }
        });
        let error = made.err().unwrap().to_string();
        assert_eq!(
            error,
            format!("{operator}: `{name}` holds for the whole model and cannot be another for `b`")
        );
    }
    // What is up to the tensor can.
    let several = Several::new("crossover", &tensors, 2);
    let made = several.run_with(|tensor, parameters| {
        if tensor == "b" {
            parameters.insert("unit".to_owned(), word("block:1"));
        }
    });
    let taken = |i: usize| match &made.as_ref().unwrap().realised[i]["taken"] {
        Value::PerParent(taken) => taken.iter().sum::<f64>(),
        other => panic!("{other:?}"),
    };
    assert_eq!((taken(0), taken(1)), (1.0, 4.0));
}
