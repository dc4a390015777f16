import LMoECore
import LMoEExperts

/// A model whose gate and experts are trained: forward, loss and backward of packed documents.
///
/// It shares its parameters with the model it was made of, which computes with what they are at any time.
/// One thread at a time uses it; it shares its work out among the workers of its base's pool.
public final class TrainingModel {
  /// The model that computes with the same parameters.
  public let model: Model
  let blocks: [BlockTape]
  let gate: GateTape?
  let head: LossHead
  private let workspace = TrainingWorkspace()
  /// The residual stream before each layer, and after the last.
  private let streams: [Activations]
  private let rotary: Rotary
  private let angleTable: AngleTable
  /// Whether layers are computed again on the way back, so that only their inputs are kept.
  let recomputes: Bool
  /// How large a part of a step may be that goes forward and back together.
  var partLimits = PartLimits()
  /// All that is trained, in the order of the model.
  let parameters: [Parameter]
  /// The gate as it began; nil for fixed weights.
  var routing: GateRouting?
  /// What the names of an expert's tensors begin with, by its name.
  var prefixes: [ByteKey: String] = [:]

  /// - Parameters:
  ///   - model: A model with factors that can be changed.
  ///   - trainsGate: Whether the parameters of its gate are trained.
  ///   - recomputes: Whether activations are computed again on the way back instead of kept.
  init(_ model: Model, trainsGate: Bool, recomputes: Bool = false) {
    self.model = model
    self.recomputes = recomputes
    rotary = Rotary(model.configuration)
    angleTable = AngleTable(rotary)
    var number = 0
    func tape(_ linear: Linear, _ memory: TapeMemory) -> LinearTape {
      number += 1
      return LinearTape(
        linear, gate: linear.gate.map { GateTape($0, isTrained: trainsGate) }, number: number - 1,
        memory: memory)
    }
    let memory = TapeMemory(isShared: recomputes)
    blocks = model.blocks.map { block in
      memory.begin()
      return BlockTape(
        block, gate: block.gate.map { GateTape($0, isTrained: trainsGate) }, memory: memory
      ) { tape($0, memory) }
    }
    head = LossHead(norm: model.norm, head: tape(model.head, TapeMemory(isShared: false)))
    gate = model.gate.map { GateTape($0, isTrained: trainsGate) }
    streams = (0...blocks.count).map { _ in Activations() }
    parameters = (gate?.parameters ?? []) + blocks.flatMap(\.parameters) + head.head.parameters
  }

  /// All gates that decide something.
  var gates: [GateTape] {
    [gate].compactMap(\.self) + blocks.flatMap(\.gates) + [head.head.gate].compactMap(\.self)
  }
  var linears: [Linear] { blocks.flatMap(\.linears).map(\.linear) + [head.head.linear] }

  /// The first layer that has to be gone back through; nil if none has.
  var lowest: Int? {
    if gate?.isTrained == true {
      return blocks.firstIndex { $0.linears.contains { $0.linear.experts != nil } }
    }
    return blocks.firstIndex { !$0.parameters.isEmpty }
  }

  /// Tokens of one text, and which of them are to be predicted.
  struct Document: Sendable {
    let tokens: [Int]
    /// Whether each token is a target; the first one never is.
    let isTarget: [Bool]
    /// The gate's column that it belongs to; nil for none.
    var label: Int?
  }

  /// How a pass counts in its step.
  struct PassSettings: Sendable {
    /// Targets and rows of the whole step, and what `labelled` counts of its documents.
    var targets: Int
    var rows: Int
    var labelled = 0
    var losses = AuxiliaryLosses()
    /// Whether documents with a label are given to their expert, and the gate learns the label.
    var isSupervised = false
    /// What −log p of the label counts beside the loss of the text.
    var labelWeight = 1.0
    var dropout: Float = 0
    var dropoutKey: UInt64 = 0
  }

  /// What a pass came to.
  struct PassResult: Sendable {
    /// Σ −log p of the targets.
    var nats: Double
    var statistics: RoutingStatistics
  }

  /// Computes the loss of documents, and adds its gradients to those of the parameters.
  ///
  /// The loss is Σ −log p over all targets of the step, divided by their number, with auxiliary losses.
  func run(_ documents: [Document], _ settings: PassSettings) -> PassResult {
    var result = PassResult(nats: 0, statistics: RoutingStatistics())
    var firstRow = 0
    for part in parts(of: documents, settings.losses) {
      let part = Array(part)
      let other = run(part, settings, firstRow: firstRow)
      result.nats += other.nats
      result.statistics.add(other.statistics)
      firstRow += part.reduce(0) { $0 + $1.tokens.count }
    }
    return result
  }

  private func run(_ documents: [Document], _ settings: PassSettings, firstRow: Int) -> PassResult {
    let pass = makePass(documents, settings, firstRow)
    let count = pass.count
    let hidden = model.configuration.hiddenSize
    let x = streams.map { $0.rows(count, hidden) }
    model.embedding.forward(documents.flatMap(\.tokens), into: x[0])
    if let gate {
      gate.forward(x[0], in: pass)
      pass.gate = gate
    }
    for (index, block) in blocks.enumerated() { block.forward(x[index], into: x[index + 1], in: pass) }
    let gradient = workspace.residual.rows(count, hidden)
    let lowest = lowest
    let scale = 1 / Float(max(1, settings.targets))
    let needsGradient = lowest != nil || head.head.isTrained || (gate?.isTrained == true)
    let nats = pass.compute.timed(.head) {
      head.run(
        x[blocks.count], targets(documents), scale: scale, into: needsGradient ? gradient : nil,
        modelGate: gate, in: pass)
    }
    for index in blocks.indices.reversed() {
      guard let lowest, index >= lowest else { break }
      pass.gate = gate
      if recomputes {
        pass.isAgain = true
        blocks[index].forward(x[index], into: x[index + 1], in: pass)
      }
      blocks[index].backward(
        x[index], gradient, passesOn: index > lowest, needsWeights: gate?.isTrained == true, in: pass)
    }
    if let gate, gate.isTrained { pass.compute.run(gate.backward(x[0], in: pass)) }
    return PassResult(nats: nats, statistics: pass.statistics)
  }

  /// Pairs of a row with a label and a gate that routes it, which the supervised loss is the mean over.
  func labelled(_ documents: [Document]) -> Int {
    documents.reduce(0) { sum, document in
      guard let label = document.label else { return sum }
      return sum + document.tokens.count * gates.count { $0.gate.routed.contains(label) }
    }
  }

  /// Brings up to date what follows from parameters, after they have changed.
  func refresh() {
    for linear in linears { linear.refreshMagnitudes(model.compute) }
    for gate in gates { gate.refresh() }
  }

  /// Forgets all gradients.
  func clearGradients() {
    let parameters = parameters
    model.compute.pool.run(items: parameters.count) { index, _ in parameters[index].gradient.clear() }
  }

  private func targets(_ documents: [Document]) -> [LossHead.Target] {
    var targets: [LossHead.Target] = []
    var first = 0
    for document in documents {
      for index in document.tokens.indices.dropFirst() where document.isTarget[index] {
        targets.append(LossHead.Target(row: first + index - 1, token: document.tokens[index]))
      }
      first += document.tokens.count
    }
    return targets
  }

  private func makePass(
    _ documents: [Document], _ settings: PassSettings, _ firstRow: Int
  ) -> TrainingPass {
    var ranges: [Range<Int>] = []
    var first = 0
    for document in documents {
      ranges.append(first..<first + document.tokens.count)
      first += document.tokens.count
    }
    let angles = workspace.angles.rows(first, model.configuration.headDimension)
    for range in ranges {
      angleTable.fill(0..<range.count, contextLength: range.count, into: angles[range], on: model.compute)
    }
    var scale = AuxiliaryLosses.Scale()
    scale.losses = settings.losses
    (scale.rows, scale.labelled, scale.gates) = (settings.rows, settings.labelled, max(1, gates.count))
    scale.supervised = settings.isSupervised ? settings.labelWeight : 0
    return TrainingPass(
      compute: model.compute, workspace: workspace, rotary: rotary, documents: ranges, angles: angles,
      auxiliary: scale,
      labels: settings.isSupervised
        ? documents.flatMap { [Int?](repeating: $0.label, count: $0.tokens.count) } : [],
      dropout: settings.dropout, dropoutKey: settings.dropoutKey, firstRow: firstRow)
  }
}
