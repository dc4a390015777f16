import LMoECore

/// Memory of a step for the factors of the experts of one linear layer: they are gathered there for products that take
/// all experts at once.
///
/// It is used again from layer to layer, and so stays in the caches: what is gathered costs little more than reading it
/// where it is stored, and the experts are in memory once.
final class FactorMemory {
  private var a: RawBuffer?
  private var b: RawBuffer?

  /// A factor that is to be written.
  struct Writing: Sendable {
    fileprivate let plan: StackPlan
    fileprivate let buffer: RawBuffer

    /// Writes what is wanted, shared out among the workers.
    static func run(_ all: [Writing], on pool: WorkerPool) {
      guard !all.isEmpty else { return }
      let parts = all.indices.flatMap { index in
        (0..<all[index].plan.count).map { (writing: index, part: $0) }
      }
      pool.run(items: parts.count) { item, _ in
        let writing = all[parts[item].writing]
        writing.plan.write(parts[item].part, to: writing.buffer)
      }
    }
  }

  /// Ā and B̄: as they are, or as they will be once what is added to `writings` is done.
  ///
  /// Until the next call, this object or `experts` keep their memory.
  func stack(_ experts: LinearExperts, _ writings: inout [Writing]) -> (a: Weight.View, b: Weight.View) {
    (Self.stack(experts.a, in: &a, &writings), Self.stack(experts.b, in: &b, &writings))
  }

  private static func stack(
    _ factor: FactorStack, in memory: inout RawBuffer?, _ writings: inout [Writing]
  ) -> Weight.View {
    guard let plan = factor.plan else { return factor.whole.view }
    let buffer =
      memory.flatMap { unsafe $0.bytes.count >= plan.bytes ? $0 : nil } ?? RawBuffer(count: plan.bytes)
    memory = buffer
    writings.append(Writing(plan: plan, buffer: buffer))
    return plan.weight(in: buffer).view
  }
}
