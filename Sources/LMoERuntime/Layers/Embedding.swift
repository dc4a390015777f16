/// The table of token embeddings: row e[t] for token t.
struct Embedding: Sendable {
  /// What an expert that adapts the embedding adds to row t: s·B·A[:, t], and with magnitudes that times c.
  struct Delta: Sendable {
    /// A: rank × vocabulary.
    let a: Weight
    /// B: hidden × rank.
    let b: Weight
    /// s.
    let scaling: Float
    /// c for each hidden column, for DoRA.
    let factors: [Float]?
  }

  /// vocabulary × hidden.
  let weight: Weight
  /// Rows that take the place of the table's own.
  let overlay: RowOverlay?
  /// What an expert adds.
  let delta: Delta?

  /// Writes the embeddings of tokens into rows [T, hidden].
  func forward(_ tokens: [Int], into x: Rows) {
    for (row, token) in tokens.enumerated() {
      let out = unsafe x.row(row)
      unsafe weight.copyRow(token, to: out)
      if let overlay, let place = overlay.indices.lastIndex(of: token) {
        let difference = overlay.differences[place..<place + 1].floats
        for column in 0..<x.width { unsafe out[column] += difference[column] }
      }
      if let delta { add(delta, token, x[row..<row + 1]) }
    }
  }

  private func add(_ delta: Delta, _ token: Int, _ x: Rows) {
    let a = (0..<delta.a.rows).map { rank in delta.a.element(rank, token) * delta.scaling }
    for hidden in 0..<x.width {
      var sum = x[0, hidden]
      for (rank, value) in a.enumerated() { sum += delta.b.element(hidden, rank) * value }
      x[0, hidden] = sum * (delta.factors?[hidden] ?? 1)
    }
  }
}
