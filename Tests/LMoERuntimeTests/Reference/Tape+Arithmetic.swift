import Foundation

/// Sums, products and what moves numbers around.
extension Tape {
  /// a · b.
  func product(_ a: Variable, _ b: Variable) -> Variable {
    step(self[a].times(self[b]), of: [a, b]) { tape, gradient in
      tape.add(gradient.times(tape[b].transposed), to: a)
      tape.add(tape[a].transposed.times(gradient), to: b)
    }
  }

  func transposed(_ a: Variable) -> Variable {
    step(self[a].transposed, of: [a]) { tape, gradient in tape.add(gradient.transposed, to: a) }
  }

  /// x · wᵀ: rows of x through a linear layer of weight w [out, in].
  func linear(_ x: Variable, _ w: Variable) -> Variable { product(x, transposed(w)) }

  /// a + b; b may be one row or one column.
  func sum(_ a: Variable, _ b: Variable) -> Variable {
    step(self[a].combined(with: self[b], +), of: [a, b]) { tape, gradient in
      tape.add(gradient, to: a)
      tape.add(gradient.summed(to: tape[b].rows, tape[b].columns), to: b)
    }
  }

  /// a − b; b may be one row or one column.
  func difference(_ a: Variable, _ b: Variable) -> Variable { sum(a, scaled(b, -1)) }

  /// a ⊙ b; b may be one row or one column.
  func elementwise(_ a: Variable, _ b: Variable) -> Variable {
    step(self[a].combined(with: self[b], *), of: [a, b]) { tape, gradient in
      tape.add(gradient.combined(with: tape[b], *), to: a)
      tape.add(gradient.combined(with: tape[a], *).summed(to: tape[b].rows, tape[b].columns), to: b)
    }
  }

  func scaled(_ a: Variable, _ factor: Double) -> Variable {
    step(self[a].map { $0 * factor }, of: [a]) { tape, gradient in
      tape.add(gradient.map { $0 * factor }, to: a)
    }
  }

  func shifted(_ a: Variable, by number: Double) -> Variable {
    step(self[a].map { $0 + number }, of: [a]) { tape, gradient in tape.add(gradient, to: a) }
  }

  /// The sum of all elements.
  func total(_ a: Variable) -> Variable {
    step(self[a].summed(to: 1, 1), of: [a]) { tape, gradient in
      tape.add(ReferenceMatrix(tape[a].rows, tape[a].columns, repeating: gradient[0, 0]), to: a)
    }
  }

  /// The mean of all elements.
  func mean(_ a: Variable) -> Variable { scaled(total(a), 1 / Double(self[a].values.count)) }

  /// The mean over the rows: one row.
  func meanRow(_ a: Variable) -> Variable {
    let (rows, columns) = (self[a].rows, self[a].columns)
    return scaled(
      step(self[a].summed(to: 1, columns), of: [a]) { tape, gradient in
        tape.add(ReferenceMatrix(rows, columns).combined(with: gradient, +), to: a)
      }, 1 / Double(rows))
  }

  /// Some of the rows, in an order of their own, perhaps several times.
  func rows(_ indices: [Int], of a: Variable) -> Variable {
    let value = ReferenceMatrix(indices.count, self[a].columns, indices.flatMap(self[a].row))
    return step(value, of: [a]) { tape, gradient in
      var result = ReferenceMatrix(tape[a].rows, tape[a].columns)
      for (row, index) in indices.enumerated() {
        for column in 0..<gradient.columns { result[index, column] += gradient[row, column] }
      }
      tape.add(result, to: a)
    }
  }

  func columns(_ range: Range<Int>, of a: Variable) -> Variable {
    var value = ReferenceMatrix(self[a].rows, range.count)
    for row in 0..<value.rows {
      for column in range { value[row, column - range.lowerBound] = self[a][row, column] }
    }
    return step(value, of: [a]) { tape, gradient in
      var result = ReferenceMatrix(tape[a].rows, tape[a].columns)
      for row in 0..<gradient.rows {
        for column in range { result[row, column] = gradient[row, column - range.lowerBound] }
      }
      tape.add(result, to: a)
    }
  }

  /// Matrices side by side.
  func beside(_ parts: [Variable]) -> Variable {
    var ends: [Int] = []
    for part in parts { ends.append((ends.last ?? 0) + self[part].columns) }
    var value = ReferenceMatrix(parts.first.map { self[$0].rows } ?? 0, ends.last ?? 0)
    for (part, end) in zip(parts, ends) {
      let start = end - self[part].columns
      for row in 0..<value.rows {
        for column in start..<end { value[row, column] = self[part][row, column - start] }
      }
    }
    return step(value, of: parts) { tape, gradient in
      for (part, end) in zip(parts, ends) {
        var result = ReferenceMatrix(tape[part].rows, tape[part].columns)
        let start = end - result.columns
        for row in 0..<result.rows {
          for column in start..<end { result[row, column - start] = gradient[row, column] }
        }
        tape.add(result, to: part)
      }
    }
  }

  /// Single elements: one column.
  func elements(_ places: [(row: Int, column: Int)], of a: Variable) -> Variable {
    let value = ReferenceMatrix(column: places.map { self[a][$0.row, $0.column] })
    return step(value, of: [a]) { tape, gradient in
      var result = ReferenceMatrix(tape[a].rows, tape[a].columns)
      for (index, place) in places.enumerated() { result[place.row, place.column] += gradient[index, 0] }
      tape.add(result, to: a)
    }
  }

  /// |a|.
  func absolute(_ a: Variable) -> Variable {
    step(self[a].map { abs($0) }, of: [a]) { tape, gradient in
      tape.add(gradient.combined(with: tape[a]) { $1 > 0 ? $0 : $1 < 0 ? -$0 : 0 }, to: a)
    }
  }

  /// a · log a, and 0 where a is 0.
  func timesLogarithm(_ a: Variable) -> Variable {
    step(self[a].map { $0 > 0 ? $0 * log($0) : 0 }, of: [a]) { tape, gradient in
      tape.add(gradient.combined(with: tape[a]) { $1 > 0 ? $0 * (log($1) + 1) : 0 }, to: a)
    }
  }
}
