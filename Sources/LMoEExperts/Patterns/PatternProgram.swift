/// A pattern as the steps of an automaton, which a name is run through once, in all states at a time.
///
/// This is Thompson's simulation: the states that are alive before a scalar are kept in a set, so none is
/// looked at twice there, and a name of n scalars costs at most n + 1 times ``size`` steps. A loop around
/// something that matches nothing ends for the same reason.
struct PatternProgram: Sendable {
  /// One step, which leads to the step after it unless it says otherwise.
  enum Step: Sendable {
    /// Takes this scalar, a number because Python's patterns may hold surrogates, which no name has.
    case scalar(UInt32)
    /// Takes any scalar but a newline.
    case any
    /// Takes a scalar of the class with this index.
    case member(Int32)
    /// Goes on where the assertion holds.
    case assertion(PatternAssertion)
    /// Goes on both at the next step and at this one.
    case split(Int32)
    /// Goes on at this step.
    case jump(Int32)
    /// The pattern has matched.
    case accept
  }

  private var steps: [Step] = []
  private let classes: [ScalarClass]

  /// The number of steps.
  var size: Int { steps.count }

  /// The steps of `node`, whose size must have been checked: repeats are written out.
  init(_ node: PatternNode, classes: [ScalarClass]) {
    self.classes = classes
    steps.reserveCapacity(node.size + 1)
    append(node)
    steps.append(.accept)
  }

  private var end: Int32 { Int32(steps.count) }

  private mutating func append(_ node: PatternNode) {
    switch node.kind {
    case .empty: break
    case .scalar(let scalar): steps.append(.scalar(scalar))
    case .any: steps.append(.any)
    case .member(let index): steps.append(.member(Int32(index)))
    case .assertion(let assertion): steps.append(.assertion(assertion))
    case .sequence(let nodes): for node in nodes { append(node) }
    case .alternation(let branches):
      var jumps: [Int] = []
      for branch in branches.dropLast() {
        let split = steps.count
        steps.append(.split(0))
        append(branch)
        jumps.append(steps.count)
        steps.append(.jump(0))
        steps[split] = .split(end)
      }
      if let last = branches.last { append(last) }
      for jump in jumps { steps[jump] = .jump(end) }
    case .repetition(let body, let minimum, let maximum): append(body, from: minimum, to: maximum)
    }
  }

  private mutating func append(_ body: PatternNode, from minimum: Int, to maximum: Int?) {
    var start = end
    for _ in 0..<minimum {
      start = end
      append(body)
    }
    if let maximum {
      var splits: [Int] = []
      for _ in minimum..<maximum {
        splits.append(steps.count)
        steps.append(.split(0))
        append(body)
      }
      for split in splits { steps[split] = .split(end) }
    } else if minimum > 0 {
      steps.append(.split(start))
    } else {
      steps.append(.split(0))
      append(body)
      steps.append(.jump(start))
      steps[Int(start)] = .split(end)
    }
  }

  /// Whether the pattern matches all of `name`, or a beginning of it.
  func matches(_ name: [Unicode.Scalar], isWhole: Bool) -> Bool {
    var alive = StepSet(capacity: size)
    var next = alive
    var pending: [Int32] = [0]
    pending.reserveCapacity(2 * size)
    var accepts = follow(&pending, into: &alive, in: name, at: 0)
    for (position, scalar) in name.enumerated() {
      if accepts && !isWhole { return true }
      if alive.isEmpty { return false }
      for index in 0..<alive.count where takes(steps[Int(alive[index])], scalar) {
        pending.append(alive[index] + 1)
      }
      next.removeAll()
      accepts = follow(&pending, into: &next, in: name, at: position + 1)
      swap(&alive, &next)
    }
    return accepts
  }

  /// Adds the `pending` steps and all that can be reached from them without a scalar.
  ///
  /// - Returns: whether the pattern has matched.
  private func follow(
    _ pending: inout [Int32], into set: inout StepSet, in name: [Unicode.Scalar], at position: Int
  ) -> Bool {
    var accepts = false
    while let step = pending.popLast() {
      guard set.insert(step) else { continue }
      switch steps[Int(step)] {
      case .scalar, .any, .member: break
      case .assertion(let assertion):
        if assertion.holds(in: name, at: position) { pending.append(step + 1) }
      case .split(let other):
        pending.append(other)
        pending.append(step + 1)
      case .jump(let other): pending.append(other)
      case .accept: accepts = true
      }
    }
    return accepts
  }

  private func takes(_ step: Step, _ scalar: Unicode.Scalar) -> Bool {
    switch step {
    case .scalar(let expected): scalar.value == expected
    case .any: scalar != "\n"
    case .member(let index): classes[Int(index)].contains(scalar)
    case .assertion, .split, .jump, .accept: false
    }
  }
}

/// A part of a pattern, and how many steps it takes when its repeats are written out.
struct PatternNode: Sendable {
  indirect enum Kind: Sendable {
    case empty
    case scalar(UInt32)
    case any
    /// A scalar of the class with this index.
    case member(Int)
    case assertion(PatternAssertion)
    case sequence([PatternNode])
    case alternation([PatternNode])
    case repetition(PatternNode, minimum: Int, maximum: Int?)
  }

  let kind: Kind
  let size: Int

  init(_ kind: Kind, size: Int = 1) {
    self.kind = kind
    self.size = size
  }

  private static let empty = PatternNode(.empty, size: 0)

  /// The nodes but for empty ones, so that a repeat of it takes no more time than it writes steps.
  static func sequence(_ nodes: [PatternNode]) -> PatternNode {
    let nodes = nodes.filter { $0.size > 0 }
    if nodes.count < 2 { return nodes.first ?? .empty }
    return PatternNode(.sequence(nodes), size: nodes.reduce(0) { $0 + $1.size })
  }

  /// One of the branches: a split and a jump for each but the last.
  static func alternation(_ branches: [PatternNode]) -> PatternNode {
    let size = branches.reduce(2 * (branches.count - 1)) { $0 + $1.size }
    return PatternNode(.alternation(branches), size: size)
  }

  /// The body `minimum` to `maximum` times: as many copies, an optional one behind a split.
  ///
  /// The counts are below 2³² and the body's size is bounded, so nothing overflows; the size says whether the
  /// copies may be made.
  static func repetition(_ body: PatternNode, _ minimum: Int, _ maximum: Int?) -> PatternNode {
    if body.size == 0 || maximum == 0 { return .empty }
    let size =
      if let maximum {
        minimum * body.size + (maximum - minimum) * (body.size + 1)
      } else {
        minimum == 0 ? body.size + 2 : minimum * body.size + 1
      }
    return PatternNode(.repetition(body, minimum: minimum, maximum: maximum), size: size)
  }
}

/// A set of steps that is emptied, asked and added to in constant time.
///
/// `sparse` says where in `dense` a step would be, and is believed only if it is there.
private struct StepSet {
  private var dense: [Int32]
  private var sparse: [Int32]
  private(set) var count = 0

  init(capacity: Int) {
    dense = Array(repeating: 0, count: capacity)
    sparse = dense
  }

  var isEmpty: Bool { count == 0 }

  subscript(index: Int) -> Int32 { dense[index] }

  mutating func removeAll() { count = 0 }

  /// Adds `step`, and returns whether it was new.
  mutating func insert(_ step: Int32) -> Bool {
    let place = Int(sparse[Int(step)])
    if place < count && dense[place] == step { return false }
    dense[count] = step
    sparse[Int(step)] = Int32(count)
    count += 1
    return true
  }
}

/// A condition on a place between scalars.
enum PatternAssertion: Sendable {
  /// `^` and `\A`.
  case start
  /// `$`: the end, or before a newline there.
  case end
  /// `\Z`.
  case veryEnd
  /// `\b`.
  case wordBoundary
  /// `\B`.
  case noWordBoundary

  /// Whether it holds before the scalar at `position`.
  func holds(in name: [Unicode.Scalar], at position: Int) -> Bool {
    switch self {
    case .start: return position == 0
    case .end: return position == name.count || (position == name.count - 1 && name[position] == "\n")
    case .veryEnd: return position == name.count
    case .wordBoundary, .noWordBoundary:
      // Python: neither holds in an empty text.
      if name.isEmpty { return false }
      let before = position > 0 && ScalarClass.isWord(name[position - 1])
      let after = position < name.count && ScalarClass.isWord(name[position])
      return (before != after) == (self == .wordBoundary)
    }
  }
}
