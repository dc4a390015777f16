import CLMoEKernels

extension Weight {
  /// The weight as the kernels know it; whoever uses it keeps the weight.
  @unsafe var matrix: lmoe_matrix {
    let view = view
    return unsafe lmoe_matrix(
      values: view.base, kind: kind.code, block: kind.blockElements, first: view.first, rows: rows,
      columns: columns)
  }
}
