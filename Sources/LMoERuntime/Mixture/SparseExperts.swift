private import CLMoEKernels
import LMoECore

/// The experts of a linear layer where each row has only few of many, as behind a gate that chooses: each expert is
/// computed for the rows alone that have it.
struct SparseExperts: Sendable {
  /// An expert and its rows.
  struct Group: Sendable {
    let slot: LinearExperts.Slot
    let rows: [Int]
    /// Where its rows begin among those of all groups.
    let first: Int
  }

  let experts: LinearExperts
  let groups: [Group]
  private let weights: Rows
  /// The number of pairs of a row and an expert, and of rows of one expert at most.
  let pairs: Int
  let most: Int
  /// The largest rank of an expert that some row has.
  let rank: Int

  /// Of the ranks that all rows together would take with all experts, so many must not be needed.
  private static let part = 4

  /// The groups; nil if there are few rows, if too many of them have an expert, or if ranks are too unequal.
  ///
  /// - Parameters:
  ///   - experts: The experts of the layer.
  ///   - weights: The gate's weights [T, experts].
  ///   - having: The rows that have each expert; asked for where it may pay.
  init?(_ experts: LinearExperts, weights: Rows, having: () -> ExpertRows) {
    guard weights.count > LinearExperts.fewRows, experts.slots.count > 1, !experts.rescales else {
      return nil
    }
    let having = having()
    var groups: [Group] = []
    var (pairs, ranks, most) = (0, 0, 0)
    let limit = weights.count * experts.ranks / Self.part
    for slot in experts.slots {
      let rows = having[slot.expert]
      if rows.isEmpty { continue }
      groups.append(Group(slot: slot, rows: rows, first: pairs))
      pairs += rows.count
      ranks += rows.count * slot.ranks.count
      most = max(most, rows.count)
      if ranks > limit { return nil }
    }
    (self.experts, self.groups, self.weights, self.pairs, self.most) = (experts, groups, weights, pairs, most)
    rank = groups.reduce(1) { max($0, $1.slot.ranks.count) }
    // Pairs have places of one size: with a few large experts among small ones they would take more than all ranks.
    if pairs * rank > weights.count * experts.ranks { return nil }
  }

  /// Adds Σ gᵢ·sᵢ·Bᵢ(Aᵢx) to `output` [T, outputs], for `x` [T, inputs].
  func add(_ x: Rows, to output: Rows, _ compute: Compute, _ workspace: Workspace) {
    let u = workspace.sparseRanks.rows(pairs, rank)
    forEachGroup(of: x, workspace.sparseRows, compute) { group, input, worker in
      let own = ranks(u, group)
      compute.compute(.linear(input, group.slot.factors.a), into: own, worker)
      for (place, row) in group.rows.enumerated() {
        unsafe lmoe_scale(own.row(place), factor(row, group), own.width, own.row(place))
      }
    }
    spread(u, to: output, workspace.sparseProducts, compute) { group, own in group.slot.factors.term(own) }
  }

  /// g·s of a row's expert.
  func factor(_ row: Int, _ group: Group) -> Float { weights[row, group.slot.expert] * group.slot.scaling }

  /// U of a group: its rows × its ranks.
  func ranks(_ u: Rows, _ group: Group) -> Rows {
    u[group.first..<group.first + group.rows.count].columns(0..<group.slot.ranks.count)
  }

  /// Calls `body` for every group with its rows of x, which lie together in the memory of the worker that calls.
  func forEachGroup(
    of x: Rows, _ memory: Activations, _ compute: Compute,
    _ body: @escaping @Sendable (_ group: Group, _ input: Rows, _ worker: Int) -> Void
  ) {
    let gathered = memory.rows(compute.pool.count * most, x.width)
    compute.pool.run(items: groups.count) { item, worker in
      let group = groups[item]
      let input = gathered[worker * most..<worker * most + group.rows.count]
      gather(x, group, into: input)
      body(group, input, worker)
    }
  }

  /// Copies a group's rows of x.
  func gather(_ x: Rows, _ group: Group, into out: Rows) {
    for (place, row) in group.rows.enumerated() {
      unsafe out.row(place).update(from: x.row(row), count: x.width)
    }
  }

  /// Adds a product of each group's part of `u` [pairs, r] to its rows of `output`.
  func spread(
    _ u: Rows, to output: Rows, _ memory: Activations, _ compute: Compute,
    _ term: @escaping @Sendable (Group, Rows) -> Compute.Term
  ) {
    guard !groups.isEmpty else { return }
    // Each worker has columns of its own: a row has several experts.
    let workers = compute.pool.count
    let products = memory.rows(workers * most, output.width)
    let step = max(32, (output.width / (4 * workers) + 31) / 32 * 32)
    compute.pool.run(items: (output.width + step - 1) / step) { item, worker in
      let columns = item * step..<min((item + 1) * step, output.width)
      for group in groups {
        let product = products[worker * most..<worker * most + group.rows.count]
        // Narrow rows, as those of B, are multiplied faster where they are added to something.
        product.columns(columns).clear()
        compute.compute(
          Compute.Product(terms: [term(group, ranks(u, group))], output: product, accumulates: true), columns,
          worker)
        for (place, row) in group.rows.enumerated() {
          unsafe lmoe_add(
            output.row(row) + columns.lowerBound, product.row(place) + columns.lowerBound, columns.count)
        }
      }
    }
  }
}
