import LMoECore
import LMoEFormat

/// What becomes of the tensors of one bank.
struct BankQuantization: Sendable {
  /// A tensor that is converted.
  struct Conversion: Sendable {
    /// The tensor that leaves.
    let original: Entry
    let `class`: TensorClass
    var source: QuantizedSource
  }

  let bank: BankEntry
  let bundle: Bundle
  private(set) var conversions: [Conversion] = []
  /// Why tensors that were meant stay as they are.
  private(set) var notes: [String] = []
  private let manifest: Manifest
  private let record: QuantizationRecord
  private let card: JSONObject
  private let work: QuantizationWork
  /// The class of every tensor.
  private let classOf: @Sendable (String) -> TensorClass

  private init(
    _ bank: BankEntry, in bundle: Bundle, _ record: QuantizationRecord,
    classOf: @escaping @Sendable (String) -> TensorClass
  ) throws {
    (self.bank, self.bundle, self.record, self.classOf) = (bank, bundle, record, classOf)
    manifest = try bundle.manifest(of: bank)
    card = try bundle.card(of: bank)?.object ?? JSONObject()
    let isBase = bank.kind == "base"
    guard let work = QuantizationWork(path: isBase ? bundle.path : bundle.path + "#" + bank.shortName) else {
      throw FormatError(.unsupportedDType, path: bundle.path)
    }
    self.work = work
  }

  /// Plans the base.
  init(base bank: BankEntry, in bundle: Bundle, _ record: QuantizationRecord, importance: InputImportance?)
    throws
  {
    try self.init(bank, in: bundle, record) { TensorClass(base: $0) }
    var tooShort: [String] = []
    for entry in manifest.tensors where entry.type.shape.count == 2 {
      let kind = classOf(entry.name)
      guard !record.kept.contains(kind), FloatValues(entry.type) != nil else { continue }
      guard let type = record.type.type(of: entry.type.shape) else {
        tooShort.append(entry.name)
        continue
      }
      guard try changes(entry),
        var source = source(entry.name, bundle.source(of: entry), entry.type, as: type)
      else { continue }
      source.importance = importance?.inputs(ofWeight: entry.name)
      conversions.append(Conversion(original: entry, class: kind, source: source))
    }
    note(tooShort)
  }

  /// Plans an expert: the factors of its linear layers.
  ///
  /// Embeddings, vectors and whole tensors stay.
  init(expert bank: BankEntry, in bundle: Bundle, _ record: QuantizationRecord) throws {
    let card = try bundle.card(of: bank)
    let path = bundle.path + "#" + bank.shortName
    guard card?["type"] == "lora", let groups = ModuleGroup.groups(ofCard: card) else {
      throw ExpertError(.invalidExpert, path: path, found: "its card has no table of modules")
    }
    try self.init(bank, in: bundle, record) { name in
      if name.hasSuffix(StoredFactors.nameOfA) { return .expertA }
      return name.hasSuffix(StoredFactors.nameOfB) || name.hasSuffix(StoredFactors.nameOfTransposedB)
        ? .expertB : .expertOther
    }
    let prefix = card?["prefix"]?.string ?? ""
    var tooShort: [String] = []
    for module in groups.filter({ !$0.numbers.isEmbedding }).flatMap(\.targets) {
      guard let factors = StoredFactors(of: module, prefix: prefix, in: manifest) else { continue }
      let (a, b) = (BalancedFactor(.a, factors, in: bundle), BalancedFactor(.b, factors, in: bundle))
      let types = (record.type.type(of: a.shape), record.type.type(of: b.shape))
      let isBalanced = types.0 != nil && types.1 != nil
      let name = prefix + module + StoredFactors.nameOfTransposedB
      let sides = [
        (factors.a, factors.a.name, a, types.0, TensorClass.expertA), (factors.b, name, b, types.1, .expertB),
      ]
      for (entry, name, side, type, kind) in sides {
        guard FloatValues(entry.type) != nil else { continue }
        guard let type else {
          tooShort.append(entry.name)
          continue
        }
        guard try changes(entry), let floats = TensorType(dtype: .f32, shape: side.shape.map { UInt64($0) }),
          let source = source(name, isBalanced ? side : side.unbalanced, floats, as: type)
        else { continue }
        conversions.append(Conversion(original: entry, class: kind, source: source))
      }
    }
    note(tooShort)
  }

  private func source(
    _ name: String, _ input: any ByteSource, _ inputType: TensorType, as type: TensorType
  ) -> QuantizedSource? { QuantizedSource(name, input, inputType, as: type, work) }

  /// Whether a tensor is not yet what it is to become.
  ///
  /// - Throws: `quantized-already` where its values have lost too much for that.
  private func changes(_ entry: Entry) throws -> Bool {
    guard let geometry = entry.type.geometry, let scheme = geometry.decodable else { return true }
    if geometry == record.type.geometry(columns: entry.type.shape.last ?? 0) { return false }
    guard record.type.bits < scheme.bits else {
      throw ExpertError(
        .quantizedAlready, path: work.path, name: entry.name, expected: record.type.name, found: scheme.name)
    }
    return true
  }

  private mutating func note(_ tooShort: [String]) {
    let lossy = conversions.filter { $0.original.type.geometry != nil }
    if let first = lossy.first?.original.type.geometry {
      notes.append(
        "\(bank.name): \(lossy.count) tensors were \(first.name) before; quantizing the original once would lose less"
      )
    }
    guard let first = tooShort.first else { return }
    let more = tooShort.count > 1 ? " and \(tooShort.count - 1) more" : ""
    notes.append(
      "\(bank.name): \(first)\(more) stay as they are, for their rows are not whole blocks of \(record.type.name)"
    )
  }
}

extension BankQuantization {
  /// The same with what a type needs to know of whole tensors before the first block.
  func prepared(on pool: WorkerPool) throws -> BankQuantization {
    guard conversions.contains(where: { $0.source.quantizer.needsOffset }) else { return self }
    let conversions = conversions
    let sources = Guarded(conversions.map(\.source))
    try work.explaining {
      try OrderedJobs<FormatError>.run(count: conversions.count, on: pool) { (turn) throws(FormatError) in
        let source = try conversions[turn.index].source.withOffset()
        sources.withValue { $0[turn.index] = source }
      }
    }
    var copy = self
    for (index, source) in sources.withValue({ $0 }).enumerated() { copy.conversions[index].source = source }
    return copy
  }

  /// Raw bytes that are written of it.
  func rawBytes(isCopy: Bool) -> UInt64 {
    let made = conversions.reduce(0) { $0 + $1.source.type.rawBytes }
    let kept = manifest.entries.filter(keeps).reduce(0) { $0 + $1.type.rawBytes }
    return UInt64(made + (isCopy ? kept : 0))
  }

  /// Says of an entry whether it stays: those that are converted do not, nor what would give an expert's file
  /// back as it was.
  private var keeps: (Entry) -> Bool {
    let replaced = Set(conversions.map { ByteKey($0.original.name) })
    let isBase = bank.kind == "base"
    return { entry in
      switch entry.class {
      case .tensor: !replaced.contains(ByteKey(entry.name))
      case .document: isBase || !ExpertRevision.dropped.contains(ByteKey(entry.name))
      }
    }
  }

  /// Writes the bank anew under its id.
  func write(to writer: BundleWriter, isCopy: Bool) throws {
    let entries = conversions.map { conversion in
      var entry = NewEntry(
        tensor: conversion.source.name, type: conversion.source.type, source: conversion.source)
      entry.observer = conversion.source.meter
      return entry
    }
    try work.explaining {
      if isCopy {
        let kept = manifest.entries.filter(keeps).map {
          NewEntry(copying: BankedEntry(bank: bank.name, entry: $0), of: bundle)
        }
        try writer.addBank(bank.name, id: bank.id, card: newCard, entries: kept + entries)
      } else {
        try writer.reviseBank(bank.name, card: newCard, keeping: keeps, adding: entries)
      }
    }
  }

  /// The card with the record, and with the types that there are now.
  private var newCard: JSON {
    var card = card
    let made = Dictionary(
      conversions.map { (ByteKey($0.original.name), $0.source.type) }, uniquingKeysWith: { first, _ in first }
    )
    card["dtypes"] = manifest.tensors.map { made[ByteKey($0.name)] ?? $0.type }.dtypeCounts
    if !conversions.isEmpty { card["quantized"] = record.json(previous: card["quantized"]) }
    if bank.kind != "base" {
      card["files"] = .array(
        (card["files"]?.array ?? []).filter {
          !($0["name"]?.string ?? "").hasSameBytes(as: PEFTAdapter.weights)
        })
    }
    return .object(card)
  }

  /// What became of each tensor.
  func report(_ writer: BundleWriter) throws -> [QuantizationReport.Tensor] {
    guard let written = writer.banks.first(where: { $0.name.hasSameBytes(as: bank.name) }) else { return [] }
    let after = try writer.manifest(of: written)
    let converted = Dictionary(
      conversions.map { (ByteKey($0.original.name), $0) }, uniquingKeysWith: { first, _ in first })
    return manifest.tensors.map { entry in
      let conversion = converted[ByteKey(entry.name)]
      return QuantizationReport.Tensor(
        bank: bank.name, name: entry.name, class: classOf(entry.name), elements: entry.type.elementCount,
        before: entry, after: after.tensor(conversion?.source.name ?? entry.name),
        error: conversion?.source.meter.error)
    }
  }
}
