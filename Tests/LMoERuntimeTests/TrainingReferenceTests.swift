import LMoECore
import LMoEExperts
import Testing

@testable import LMoERuntime

/// Loss and gradients of the model in training against a reference in double precision.
@Suite struct TrainingReferenceTests {
  /// Bases of the workers, whose threads live as long as the process.
  private static let pools = (1...2).map { WorkerPool(count: $0) }

  /// A bias on B has no weight for each token, and is not mixed.
  static let items = MixtureCase.all.filter { !$0.name.hasSuffix("bias-layer") }.enumerated().map { ($0, $1) }

  /// Three documents for each case, so that each length up to 70 comes up: blocks of attention have 64 rows.
  private static func lengths(_ number: Int) -> [Int] {
    [1 + (2 * number) % 70, 1 + (2 * number + 1) % 70, 1 + (number * 29 + 60) % 70]
  }

  @Test func `every length comes up`() {
    #expect(Set(Self.items.flatMap { Self.lengths($0.0) }).isSuperset(of: 1...70))
  }

  @Test(arguments: items)
  func `loss and gradients are those of the reference`(number: Int, item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let sample = try TrainingReferenceCase(
      item, number: number, lengths: Self.lengths(number), in: fixture)
    let expected = sample.reference.lossAndGradients(sample.documents, sample.objective)
    for kernels in Kernels.variants {
      try Kernels.with(kernels) {
        let model = try sample.model(on: LoadedBase(sample.bundle, on: Self.pools[0]))
        let result = sample.run(model)
        let targets = sample.documents.reduce(0) { $0 + $1.isTarget.count { $0 } }
        let crossEntropy = result.nats / Double(max(1, targets))
        #expect(abs(crossEntropy - expected.parts.crossEntropy) <= 1e-6 * expected.parts.crossEntropy)
        let (parts, own) = (expected.parts, result.statistics.auxiliary)
        if sample.objective.balance > 0 {
          #expect(abs(own.balance - parts.balance) <= 1e-5 * parts.balance)
          #expect(abs(own.z - parts.z) <= 1e-5 * max(parts.z, 1))
          #expect(abs(own.mutualInformation - parts.mutualInformation) <= 1e-5)
        }
        if sample.isSupervised { #expect(abs(own.supervised - parts.label) <= 1e-5 * max(parts.label, 1)) }
        let found = model.named(.gradients, of: sample.bundle)
        #expect(Set(found.keys) == Set(expected.gradients.keys))
        #expect(expected.beyond(found) == [], "\(kernels)")
      }
    }
  }

  private static let chosen = items.filter { $0.1.name.contains("/top-2") }

  private static func isSparse(_ model: TrainingModel) -> Bool {
    model.blocks.flatMap { [$0.attention.query, $0.attention.output, $0.feedForward.down] }
      .contains { $0.sparse != nil }
  }

  /// Twelve experts, of which a token has two: each is computed for the tokens alone that have it.
  @Test(arguments: chosen)
  func `experts that few tokens have`(number: Int, item: MixtureCase) throws {
    var item = item
    item.times = 3
    let fixture = try RuntimeFixture()
    let sample = try TrainingReferenceCase(item, number: number, lengths: [33, 70, 20], in: fixture)
    let expected = sample.reference.lossAndGradients(sample.documents, sample.objective)
    let targets = sample.documents.reduce(0) { $0 + $1.isTarget.count { $0 } }
    var gradients: [[[Float]]] = []
    for (workers, recomputes) in [(1, false), (2, true)] {
      let base = try LoadedBase(sample.bundle, on: Self.pools[workers - 1])
      let model = try sample.model(on: base, recomputes: recomputes)
      let crossEntropy = sample.run(model).nats / Double(targets)
      #expect(Self.isSparse(model))
      #expect(abs(crossEntropy - expected.parts.crossEntropy) <= 1e-6 * expected.parts.crossEntropy)
      let found = model.named(.gradients, of: sample.bundle)
      #expect(Set(found.keys) == Set(expected.gradients.keys))
      // Three times as many experts, whose parts in the gates' gradients add up.
      #expect(expected.beyond(found, times: 2) == [], "\(workers) workers")
      gradients.append(model.allGradients)
    }
    #expect(gradients[0] == gradients[1])
  }

  /// The same with inputs dropped, against finite differences.
  @Test(arguments: chosen.map(\.1))
  func `experts that few tokens have, with dropout`(item: MixtureCase) throws {
    var item = item
    item.times = 3
    let fixture = try RuntimeFixture()
    // Cross-entropy alone.
    let sample = try TrainingReferenceCase(item, number: 1, lengths: [33, 40], in: fixture)
    let targets = Double(sample.documents.reduce(0) { $0 + $1.isTarget.count { $0 } })
    let model = try sample.model(on: LoadedBase(sample.bundle, on: Self.pools[1]))
    for role in [Parameter.Role.a, .b] {
      model.clearGradients()
      sample.run(model, dropout: 0.4)
      #expect(Self.isSparse(model))
      // The first layer's, which has its gradient through all that comes after.
      let parameter = try #require(model.parameters.first { $0.role == role })
      let places = (0..<parameter.values.count).flatMap { row in
        (0..<parameter.values.width).map { (row, $0) }
      }
      let (row, column) = try #require(
        places.max { abs(parameter.gradient[$0.0, $0.1]) < abs(parameter.gradient[$1.0, $1.1]) })
      let (value, gradient) = (parameter.values[row, column], parameter.gradient[row, column])
      // Where a token gets another expert, the loss jumps: not at every step.
      let slopes = [Float(1e-3), 5e-4, 2.5e-4].map { step in
        let losses = [step, -step].map { step in
          parameter.values[row, column] = value + step
          model.refresh()
          return sample.run(model, dropout: 0.4).nats / targets
        }
        return (losses[0] - losses[1]) / Double(2 * step)
      }
      parameter.values[row, column] = value
      model.refresh()
      #expect(
        slopes.contains { abs($0 - Double(gradient)) <= 0.02 * abs($0) }, "\(role): \(gradient), \(slopes)")
    }
  }

  /// Memory and workers change no bit.
  @Test(arguments: items.filter { $0.0 % 3 == 1 })
  func `the same bits with two workers, and with activations computed again`(
    number: Int, item: MixtureCase
  ) throws {
    let fixture = try RuntimeFixture()
    let sample = try TrainingReferenceCase(item, number: number, lengths: [70, 33, 90], in: fixture)
    let bases = try Self.pools.map { try LoadedBase(sample.bundle, on: $0) }
    let model = try sample.model(on: bases[0])
    let result = sample.run(model)
    #expect(!model.allGradients.joined().allSatisfy { $0 == 0 })
    for (workers, recomputes) in [(1, true), (2, false), (2, true)] {
      let other = try sample.model(on: bases[workers - 1], recomputes: recomputes)
      // What another pass has left in memory does not matter.
      sample.run(other)
      other.clearGradients()
      let again = sample.run(other)
      #expect(again.nats == result.nats && again.statistics.auxiliary == result.statistics.auxiliary)
      #expect(other.allGradients == model.allGradients, "\(workers) workers, \(recomputes)")
    }
  }

  /// In parts, gradients add up to the same but for rounding, and rows are dropped as they were.
  @Test(arguments: items.filter { $0.0 % 5 == 3 }, [Float(0), 0.3])
  func `a step in parts`(entry: (Int, MixtureCase), dropout: Float) throws {
    let fixture = try RuntimeFixture()
    let lengths = [30, 7, 45, 1, 60, 20]
    let sample = try TrainingReferenceCase(entry.1, number: entry.0, lengths: lengths, in: fixture)
    let documents = sample.documents.map {
      TrainingModel.Document(tokens: $0.tokens, isTarget: $0.isTarget)
    }
    let base = try LoadedBase(sample.bundle, on: Self.pools[1])
    let (whole, parts) = (try sample.model(on: base), try sample.model(on: base))
    var losses = AuxiliaryLosses()
    losses.z = 0.1
    var settings = TrainingModel.PassSettings(targets: 100, rows: lengths.reduce(0, +))
    (settings.losses, settings.dropout, settings.dropoutKey) = (losses, dropout, 5)
    (parts.partLimits.bytes, parts.partLimits.rows) = (1, 40)
    #expect(whole.parts(of: documents, losses).count == 1)
    let rows = parts.parts(of: documents, losses).map { $0.map(\.tokens.count) }
    #expect(rows == [[30, 7], [45], [1, 60], [20]])
    let (one, other) = (whole.run(documents, settings), parts.run(documents, settings))
    #expect(abs(one.nats - other.nats) <= 1e-6 * one.nats)
    #expect(
      abs(one.statistics.auxiliary.z - other.statistics.auxiliary.z) <= 1e-6 * one.statistics.auxiliary.z)
    for (left, right) in zip(whole.allGradients, parts.allGradients) {
      let largest = left.map(abs).max() ?? 0
      let far = zip(left, right).map { abs($0 - $1) }.max() ?? 0
      #expect(far <= 2e-5 * largest)
    }
    // What looks at the means of all rows needs all of them.
    losses.balance = 0.1
    #expect(parts.parts(of: documents, losses).count == 1)
  }

  /// What is frozen has no gradient, and the others have the one that they have without it.
  @Test(arguments: items.filter { $0.0 % 4 == 2 })
  func `each part by itself`(number: Int, item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let sample = try TrainingReferenceCase(item, number: number, lengths: [40, 7], in: fixture)
    let base = try LoadedBase(sample.bundle, on: Self.pools[0])
    let expected = sample.reference.lossAndGradients(sample.documents, sample.objective)
    for (experts, gate) in [([], true), (Array(item.experts.prefix(1).map(\.name)), false)] {
      let model = try sample.model(on: base, training: experts, gate: gate)
      sample.run(model)
      var part = expected
      part.gradients = expected.gradients.filter { name, _ in
        name.hasPrefix("gate/") ? gate : experts.contains { name.hasPrefix($0 + "/") }
      }
      let found = model.named(.gradients, of: sample.bundle)
      #expect(!found.isEmpty && Set(found.keys) == Set(part.gradients.keys))
      #expect(part.beyond(found) == [], "\(experts)")
    }
  }
}

extension ReferenceResult {
  /// The gradients that are further from those found than rounding takes them.
  ///
  /// 10⁻⁵ of the largest element of the tensor is allowed, and besides 10⁻⁶ of the largest of its kind: some
  /// tensors have next to no gradient, which is left of large terms of both signs.
  fileprivate func beyond(_ found: [String: [Float]], times: Double = 1) -> [String] {
    func kind(_ name: String) -> String {
      name.hasPrefix("gate/") ? "gate" : String(name.split(separator: ".").last ?? "")
    }
    var largest: [String: Double] = [:]
    for (name, values) in gradients {
      largest[kind(name)] = max(largest[kind(name)] ?? 0, values.map(abs).max() ?? 0)
    }
    return gradients.sorted { $0.key < $1.key }.compactMap { name, values in
      guard let own = found[name], own.count == values.count else { return "\(name) is not there" }
      let whole = largest[kind(name)] ?? 0
      // The scores of a constant gate are one tensor.
      let size = name.hasPrefix("gate//") ? whole : values.map(abs).max() ?? 0
      let far = zip(own, values).map { abs(Double($0) - $1) }.reduce(0) { $0 > $1 ? $0 : $1 }
      return far <= times * (1e-5 * size + 1e-6 * whole) ? nil : "\(name): \(far) of \(size), \(whole)"
    }
  }
}
