"""The paper's method, a module a part: pyramid, network, contrast, fusion, weights."""
