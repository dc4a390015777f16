import Foundation

/// What models are made of.
extension Tape {
  /// x ⊙ σ(x), whose derivative is σ + x·σ·(1 − σ).
  func silu(_ a: Variable) -> Variable {
    func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    return step(self[a].map { $0 * sigmoid($0) }, of: [a]) { tape, gradient in
      tape.add(
        gradient.combined(with: tape[a]) { $0 * (sigmoid($1) + $1 * sigmoid($1) * (1 - sigmoid($1))) }, to: a)
    }
  }

  /// w ⊙ x / √(mean(x²) + ε), over stretches of x as long as the row w.
  func rootMeanSquareNorm(_ x: Variable, _ w: Variable, epsilon: Double) -> Variable {
    let width = self[w].columns
    let (rows, stretches) = (self[x].rows, self[x].columns / width)
    var inverse = ReferenceMatrix(rows, stretches)
    var value = ReferenceMatrix(rows, self[x].columns)
    for row in 0..<rows {
      for stretch in 0..<stretches {
        let columns = stretch * width..<(stretch + 1) * width
        let square = columns.reduce(0) { $0 + self[x][row, $1] * self[x][row, $1] } / Double(width)
        inverse[row, stretch] = 1 / (square + epsilon).squareRoot()
        for column in columns {
          value[row, column] = self[x][row, column] * inverse[row, stretch] * self[w][0, column % width]
        }
      }
    }
    // With ρ = 1/√(mean(x²) + ε): dL/dxₖ = ρ·wₖ·δₖ − ρ³·xₖ/n · Σⱼ δⱼ·wⱼ·xⱼ and dL/dwₖ = Σ δₖ·xₖ·ρ.
    return step(value, of: [x, w]) { [inverse] tape, gradient in
      var toX = ReferenceMatrix(rows, stretches * width)
      var toW = ReferenceMatrix(1, width)
      for row in 0..<rows {
        for stretch in 0..<stretches {
          let columns = stretch * width..<(stretch + 1) * width
          let factor = inverse[row, stretch]
          let along = columns.reduce(0) {
            $0 + gradient[row, $1] * tape[w][0, $1 % width] * tape[x][row, $1]
          }
          for column in columns {
            toX[row, column] =
              factor * tape[w][0, column % width] * gradient[row, column]
              - factor * factor * factor * tape[x][row, column] / Double(width) * along
            toW[0, column % width] += gradient[row, column] * tape[x][row, column] * factor
          }
        }
      }
      tape.add(toX, to: x)
      tape.add(toW, to: w)
    }
  }

  /// x / ‖x‖ of each row, and 0 where x is 0.
  func unitRows(_ x: Variable) -> Variable {
    let inverse = ReferenceMatrix(column: self[x].rowNorms.map { $0 > 0 ? 1 / $0 : 0 })
    let value = self[x].combined(with: inverse, *)
    // (δ − u·(u·δ)) / ‖x‖ with u the result.
    return step(value, of: [x]) { tape, gradient in
      let along = gradient.combined(with: value, *).summed(to: gradient.rows, 1)
      let across = gradient.combined(with: value.combined(with: along, *), -)
      tape.add(across.combined(with: inverse, *), to: x)
    }
  }

  /// The softmax of each row over the entries that take part; 0 elsewhere.
  func softmax(_ a: Variable, over takesPart: [[Bool]]? = nil) -> Variable {
    var value = ReferenceMatrix(self[a].rows, self[a].columns)
    for row in 0..<value.rows {
      let columns = (0..<value.columns).filter { takesPart?[row][$0] ?? true }
      let largest = columns.map { self[a][row, $0] }.max() ?? 0
      for column in columns { value[row, column] = exp(self[a][row, column] - largest) }
      let sum = columns.reduce(0) { $0 + value[row, $1] }
      for column in columns { value[row, column] /= sum }
    }
    // pⱼ·(δⱼ − Σᵢ pᵢ·δᵢ)
    return step(value, of: [a]) { [value] tape, gradient in
      let mean = gradient.combined(with: value, *).summed(to: value.rows, 1)
      tape.add(gradient.combined(with: mean, -).combined(with: value, *), to: a)
    }
  }

  /// log Σ exp of each row: one column.
  func logSumExp(_ a: Variable) -> Variable {
    let values = (0..<self[a].rows).map { row in
      let largest = self[a].row(row).max() ?? 0
      return largest + log(self[a].row(row).reduce(0) { $0 + exp($1 - largest) })
    }
    let value = ReferenceMatrix(column: values)
    return step(value, of: [a]) { tape, gradient in
      let softmax = tape[a].combined(with: value) { exp($0 - $1) }
      tape.add(softmax.combined(with: gradient, *), to: a)
    }
  }

  /// Turns the pair (xᵢ, xᵢ₊d/₂) of each head by an angle of its row: (a·cos − b·sin, b·cos + a·sin).
  ///
  /// - Parameters:
  ///   - angles: d/2 for each row.
  ///   - magnitude: What cos and sin are multiplied with.
  func rotated(_ x: Variable, by angles: [[Double]], magnitude: Double) -> Variable {
    step(Self.turned(self[x], angles, magnitude, 1), of: [x]) { tape, gradient in
      tape.add(Self.turned(gradient, angles, magnitude, -1), to: x)
    }
  }

  /// The transpose of a turn is the turn back.
  private static func turned(
    _ x: ReferenceMatrix, _ angles: [[Double]], _ magnitude: Double, _ direction: Double
  ) -> ReferenceMatrix {
    var result = x
    for (row, angles) in angles.enumerated() {
      let half = angles.count
      for head in 0..<x.columns / (2 * half) {
        for (index, angle) in angles.enumerated() {
          let first = head * 2 * half + index
          let (a, b) = (x[row, first], x[row, first + half])
          let (cosine, sine) = (cos(angle) * magnitude, sin(angle) * magnitude * direction)
          result[row, first] = a * cosine - b * sine
          result[row, first + half] = b * cosine + a * sine
        }
      }
    }
    return result
  }

  /// Attention of queries to keys and values [T, heads · d]: softmax of q·k/√d over those that a row sees.
  ///
  /// - Parameters:
  ///   - heads: How many heads the queries have; query head h uses key and value head ⌊h·keyHeads/heads⌋.
  ///   - sees: For each row, which rows it sees.
  func attention(
    _ queries: Variable, _ keys: Variable, _ values: Variable, heads: Int, keyHeads: Int, sees: [[Bool]]
  ) -> Variable {
    let width = self[queries].columns / heads
    return beside(
      (0..<heads).map { head in
        let other = head * keyHeads / heads
        let query = columns(head * width..<(head + 1) * width, of: queries)
        let key = columns(other * width..<(other + 1) * width, of: keys)
        let value = columns(other * width..<(other + 1) * width, of: values)
        let scores = scaled(linear(query, key), 1 / Double(width).squareRoot())
        return product(softmax(scores, over: sees), value)
      })
  }
}
