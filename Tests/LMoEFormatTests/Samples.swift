import Testing
import LMoECore
import LMoEFormat

/// Bytes and bundles that tests start from.
enum Samples {
  /// `count` values that look like trained weights: sums of uniform numbers, scaled, as bf16.
  static func bf16(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SplitMix(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 * count)
    for _ in 0..<count {
      let bits = UInt16(truncatingIfNeeded: weight(&generator).bitPattern >> 16)
      bytes.append(UInt8(truncatingIfNeeded: bits))
      bytes.append(UInt8(bits >> 8))
    }
    return bytes
  }

  /// The same as f32.
  static func f32(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SplitMix(seed: seed)
    return (0..<count).flatMap { _ in
      let bits = weight(&generator).bitPattern
      return [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: bits >> $0) }
    }
  }

  private static func weight(_ generator: inout SplitMix) -> Float {
    let sum = (0..<4).reduce(Float(0)) { total, _ in
      total + Float(generator.next() >> 40) / Float(1 << 24) - 0.5
    }
    return sum * 0.03
  }

  /// Noise.
  static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SplitMix(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
  }

  static func tensor(_ name: String, _ dtype: DType, _ shape: [UInt64], _ bytes: [UInt8]) throws -> NewEntry {
    let type = try #require(TensorType(dtype: dtype, shape: shape))
    return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
  }

  /// Options that give the same bytes each time, on one thread.
  static var options: BundleWriter.Options {
    var options = BundleWriter.Options()
    options.pool = WorkerPool(count: 1)
    options.clock = { 1_700_000_000_000_000_000 }
    return options
  }

  static let path = "bundle.lmoe"

  static func card(_ kind: String) -> JSON { ["card": 1, "kind": .string(kind)] }

  static func expert(_ seed: UInt64) throws -> [NewEntry] {
    [
      try tensor("q.lora_A.weight", .f32, [4, 16], f32(64, seed: seed)),
      try tensor("q.lora_B.weight", .bf16, [16, 4], bf16(64, seed: seed + 1)),
      try NewEntry(document: "files/adapter_config.json", bytes: Array("{\"r\": 4}".utf8)),
    ]
  }

  /// A small bundle of three generations: a base, two experts and a gate; one expert added; one removed.
  static func bundle(in system: SimulatedFileSystem = SimulatedFileSystem()) throws -> SimulatedFileSystem {
    var options = Samples.options
    options.chunkBytes = 256
    var writer = try BundleWriter(creating: path, options: options, in: system)
    try writer.addBank(
      "base", card: card("base"),
      entries: [
        try tensor("embed", .bf16, [40, 16], bf16(640, seed: 1)),
        try tensor("norm", .f32, [16], f32(16, seed: 2)),
        try tensor("scalar", .i64, [], [1, 0, 0, 0, 0, 0, 0, 0]),
        try tensor("empty", .f16, [0, 5], []),
        try NewEntry(
          document: "files/config.json", bytes: Array(String(repeating: "{\"a\": 1} ", count: 30).utf8)),
      ])
    try writer.addBank("expert/a", card: card("expert"), entries: try expert(10))
    try writer.addBank("expert/b", card: card("expert"), entries: try expert(20))
    try writer.addBank("gate/uniform", card: card("gate"), entries: [])
    try writer.commit(note: "import")
    writer = try BundleWriter(appendingTo: path, options: options, in: system)
    try writer.addBank("expert/c", card: card("expert"), entries: try expert(30))
    try writer.commit(note: "add expert/c")
    writer = try BundleWriter(appendingTo: path, options: options, in: system)
    try writer.removeBank("expert/a")
    try writer.commit(note: "remove expert/a")
    return system
  }
}

/// What a bundle holds, as far as anyone can tell from outside.
struct LogicalContent: Equatable {
  let generation: UInt64
  let banks: [BankEntry]
  let cards: [JSON?]
  let entries: [[Entry]]

  /// Reads everything; throws the first error.
  init(_ bundle: Bundle) throws {
    let damage = try bundle.verify(decoding: true, on: WorkerPool(count: 1))
    if let first = damage.first { throw first }
    generation = bundle.generation
    banks = bundle.banks
    cards = try bundle.banks.map { try bundle.card(of: $0) }
    entries = try bundle.banks.map { try bundle.manifest(of: $0).entries }
  }
}
