import Foundation
import LMoECore
import Testing

@testable import LMoERuntime

/// Losses of many rows, and their gradient, whichever way the work is shared out.
@Suite struct LossHeadTests {
  private static let pools = [1, 2, 6].map { WorkerPool(count: $0) }
  private static let (rows, vocabulary, width) = (701, 683, 24)

  /// A pass has one; the head does not look at it.
  private static let rotary: Rotary? = {
    guard let fixture = try? RuntimeFixture(), let item = try? MixtureCase("llama/given"),
      let base = try? LoadedBase(item.bundle(fixture), on: pools[0])
    else { return nil }
    return Rotary(base.description.model)
  }()

  /// What a head comes to.
  private struct Result: Equatable {
    var nats: Double
    var gradient: [[Float]]
  }

  private func run(
    _ x: [Float], _ count: Int, scale: Float, on pool: WorkerPool, factor: Float = 1, loud: Float? = nil
  ) throws -> Result {
    let (vocabulary, width) = (Self.vocabulary, Self.width)
    let values = Self.weights
    let weights = Weight.made(rows: vocabulary, columns: width) { out in
      for row in 0..<vocabulary {
        for column in 0..<width { out[row, column] = values[row * width + column] * factor }
      }
    }
    if let loud {
      for column in 0..<width { weights.mutableRows[5, column] = column == 3 ? loud : 0 }
    }
    let linear = Linear(name: "head", weight: weights, bias: nil, experts: nil, overlay: nil, gate: nil)
    let tape = LinearTape(linear, gate: nil, number: 0, memory: TapeMemory(isShared: false))
    let norm = RMSNorm(weight: .vector([Float](repeating: 1, count: width)), epsilon: 1e-5)
    let (stream, gradient) = (OwnedRows(Self.rows, width), OwnedRows(Self.rows, width))
    for (index, value) in x.enumerated() { stream.rows[index / width, index % width] = value }
    let targets = (0..<count).map { LossHead.Target(row: $0, token: $0 * 31 % vocabulary) }
    let rotary = try #require(Self.rotary)
    let pass = TrainingPass(
      compute: Compute(pool: pool), workspace: TrainingWorkspace(), rotary: rotary,
      documents: [0..<Self.rows], angles: stream.rows)
    return withExtendedLifetime((stream, gradient)) {
      let nats = LossHead(norm: norm, head: tape).run(
        stream.rows, targets, scale: scale, into: gradient.rows, modelGate: nil, in: pass)
      return Result(nats: nats, gradient: (0..<Self.rows).map { gradient.rows.array($0) })
    }
  }
  private static let weights: [Float] = {
    var numbers = Numbers(7)
    return numbers.floats(vocabulary * width)
  }()

  /// Σ −log p in double precision.
  private func nats(_ x: [Float], _ count: Int) -> Double {
    let width = Self.width
    return (0..<count).reduce(0) { sum, row in
      let own = x[row * width..<(row + 1) * width].map(Double.init)
      let root = (own.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-5).squareRoot()
      let logits = (0..<Self.vocabulary).map { token in
        (0..<width).reduce(0) { $0 + own[$1] / root * Double(Self.weights[token * width + $1]) }
      }
      return sum + log(logits.reduce(0) { $0 + exp($1) }) - logits[row * 31 % Self.vocabulary]
    }
  }

  private var stream: [Float] {
    var numbers = Numbers(11)
    return numbers.floats(Self.rows * Self.width)
  }

  /// One worker takes rows of its own, and six take columns: there are too few rows for them.
  @Test func `the same bits by rows and by columns`() throws {
    let results = try Self.pools.map { try run(stream, 640, scale: 0.25, on: $0) }
    #expect(results[0].nats == results[1].nats && results[0].nats == results[2].nats)
    #expect(results[0].gradient == results[1].gradient && results[0].gradient == results[2].gradient)
  }

  @Test(arguments: [8, 100, 640]) func `the loss, and differences of it`(count: Int) throws {
    var x = stream
    let result = try run(x, count, scale: 0.25, on: Self.pools[0])
    #expect(abs(result.nats - nats(x, count)) < 1e-5 * result.nats)
    #expect(result.gradient[count...].allSatisfy { $0.allSatisfy { $0 == 0 } })
    for (row, column) in [(0, 3), (7, 0), (count - 1, 23)] {
      let index = row * Self.width + column
      let (value, step) = (x[index], Float(1) / 64)
      x[index] = value + step
      let above = try run(x, count, scale: 0.25, on: Self.pools[0]).nats
      x[index] = value - step
      let below = try run(x, count, scale: 0.25, on: Self.pools[0]).nats
      x[index] = value
      let slope = Float(0.25 * (above - below)) / (2 * step)
      #expect(abs(slope - result.gradient[row][column]) < 1e-3, "\(row) \(column)")
    }
  }

  /// Where e is out of range, the rows are computed by way of all their logits.
  @Test func `a target that is far from likely`() throws {
    var x = stream
    let ordinary = try run(x, 640, scale: 0.25, on: Self.pools[0])
    let far = try run(x, 640, scale: 0.25, on: Self.pools[0], factor: 60)
    let apart = try run(x, 640, scale: 0.25, on: Self.pools[2], factor: 60)
    #expect(far.nats.isFinite && far.nats > 10 * ordinary.nats && far == apart)
    x[0] = .nan
    #expect(try run(x, 640, scale: 0.25, on: Self.pools[0]).nats.isNaN)
  }

  /// Where another token is certain, the rows of a block need logits, however many workers there are.
  @Test func `a single row that is far from likely`() throws {
    var x = stream
    for row in 0..<Self.rows { x[row * Self.width + 3] = row == 600 ? 3 : 0 }
    let results = try Self.pools.map { try run(x, 640, scale: 0.25, on: $0, loud: 400) }
    #expect(results[0].nats.isFinite && results[0].nats > 640 + 400)
    #expect(results[0] == results[1] && results[0] == results[2])
  }
}
