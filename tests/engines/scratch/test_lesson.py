"""The library's README shows two examples with numbers; every one of them is what the library computes."""

import ast
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.engines.scratch import nn, optim
from tests.imports import ROOT

Array = NDArray[np.float64]
LESSON = (ROOT / "stages/engines/scratch/README.md").read_text(encoding="utf-8")
SHOWN_DECIMALS = 4


def worked_example() -> dict[str, Any]:
    """What the library computes from the batch, the parameters and the learning rate that the README gives."""
    given = {name: shown("A worked example")[name] for name in ("X", "y", "W1", "b1", "W2", "b2", "lr")}
    inputs, labels, lr = given["X"], given["y"].astype(np.int64), given["lr"].item()
    network, loss = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), dtype=np.float64), nn.CrossEntropyLoss()
    names = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    network.load_state_dict({name: given[short] for name, short in names.items()})
    first, relu, second = network
    z1 = first.forward(inputs)
    hidden = relu.forward(z1)
    z2 = second.forward(hidden)
    mean_loss, log_p = loss.forward(z2, labels), nn.log_softmax(z2)
    grad_z2 = loss.backward()
    grad_hidden = second.backward(grad_z2)
    grad_z1 = relu.backward(grad_hidden)
    first.backward(grad_z1)
    results: dict[str, Any] = {
        "Z1": z1,
        "H": hidden,
        "Z2": z2,
        "P": np.exp(log_p),
        "losses": -log_p[[0, 1], labels],
        "L": mean_loss,
    }
    results |= {"dZ2": grad_z2, "dH": grad_hidden, "dZ1": grad_z1}
    results |= {"dW1": first.gradients["weight"].copy(), "db1": first.gradients["bias"].copy()}
    results |= {"dW2": second.gradients["weight"].copy(), "db2": second.gradients["bias"].copy()}
    weight = first.parameters["weight"]
    for name, change in (("L_plus", 0.001), ("L_minus", -0.002)):
        weight[0, 0] += change
        results[name] = loss.forward(network.forward(inputs), labels)
    results["slope"] = (results["L_plus"] - results["L_minus"]) / 0.002
    network.load_state_dict({name: given[short] for name, short in names.items()})
    optim.SGD(network.parameters, network.gradients, lr=lr).step()
    results |= {f"new_{short}": network.state_dict()[name] for name, short in names.items()}
    logits = network.forward(inputs)
    return given | results | {"new_P": np.exp(nn.log_softmax(logits)), "new_L": loss.forward(logits, labels)}


def convolution_example() -> dict[str, Any]:
    """What the library computes from the image and the kernel that the README gives."""
    given = {name: shown("Convolution and pooling")[name] for name in ("image", "kernel")}
    convolution, pooling = nn.Sequential(nn.Conv2d(1, 1, 2, bias=False), nn.MaxPool2d(2), dtype=np.float64)
    convolution.parameters["weight"][...] = given["kernel"]
    output = convolution.forward(given["image"][None, None])
    pooled = pooling.forward(output)
    grad_output = pooling.backward(np.ones_like(pooled))
    grad_image = convolution.backward(grad_output)
    assert isinstance(convolution, nn.Conv2d)
    p0, p1 = convolution._columns  # the matrices that the layer multiplies
    results = {"P0": p0, "P1": p1, "output": output[0, 0], "pooled": pooled[0, 0, 0, 0], "d_output": grad_output[0, 0]}
    return given | results | {"d_kernel": convolution.gradients["weight"][0, 0], "d_image": grad_image[0, 0]}


EXAMPLES = {"A worked example": worked_example, "Convolution and pooling": convolution_example}


def section(title: str) -> str:
    _, found, rest = LESSON.partition(f"\n## {title}\n")
    assert found, f"no section {title}"
    return rest.partition("\n## ")[0]


def blocks(title: str) -> str:
    """The code blocks of a section, which are Python: assignments of numbers."""
    return "".join(re.findall(r"^```python\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL))


def shown(title: str) -> dict[str, Array]:
    """The numbers of a section's code blocks, by their names."""
    assignments = [node for node in ast.parse(blocks(title)).body if isinstance(node, ast.Assign)]
    names = [ast.unparse(node.targets[0]) for node in assignments]
    assert len(set(names)) == len(names)
    return {name: np.array(ast.literal_eval(node.value), float) for name, node in zip(names, assignments, strict=True)}


def decimals(values: Array) -> int:
    """As many as the most exact of the numbers is shown with, and at least four."""
    return max(SHOWN_DECIMALS, *(len(str(value).partition(".")[2]) for value in values.ravel()))


@pytest.mark.parametrize("title", EXAMPLES)
def test_every_number_of_an_example_is_what_the_library_computes(title: str) -> None:
    numbers, computed = shown(title), EXAMPLES[title]()
    assert numbers.keys() == computed.keys()
    for name, values in numbers.items():
        rounded = np.round(computed[name], decimals(values))
        np.testing.assert_allclose(values, rounded, rtol=0, atol=1e-12, err_msg=name)


def test_the_step_of_the_worked_example_lowers_the_loss_and_its_gradient_is_the_measured_slope() -> None:
    numbers = shown("A worked example")
    assert numbers["new_L"] < numbers["L"]
    assert numbers["slope"] == numbers["dW1"][0, 0]


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_text_around_an_example_has_no_other_decimal_numbers(title: str) -> None:
    text = re.sub(r"^```.*?^```$", "", section(title), flags=re.MULTILINE | re.DOTALL)
    changes = {"0.001"}  # of the weight whose slope is measured
    assert set(re.findall(r"\d+\.\d+", text)) <= set(re.findall(r"\d+\.\d+", blocks(title))) | changes
