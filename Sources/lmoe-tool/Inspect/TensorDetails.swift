import LMoECore
import LMoEFormat

/// `inspect --tensor NAME`: one tensor, and what its values are like.
struct TensorDetails: InspectReport {
  private let bank: BankEntry
  private let entry: Entry
  private let summary: ValueSummary?
  /// Other banks with a tensor of that name.
  private var others: [String] = []

  /// Finds the tensor `NAME`, or `BANK:NAME`, of `bundle` and decodes it, each chunk checked.
  ///
  /// - Throws: `FormatError` with `no-such-entry`, which names the closest.
  init(_ name: String, in bundle: Bundle) throws {
    var names: [String] = []
    var found: [(bank: BankEntry, entry: Entry)] = []
    for bank in bundle.banks {
      let manifest = try bundle.manifest(of: bank)
      let prefix = bank.name + ":"
      let own = name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
      if let entry = manifest.tensor(own) {
        found.append((bank, entry))
      } else {
        names += manifest.tensors.map { own == name ? $0.name : prefix + $0.name }
      }
    }
    guard let first = found.first else {
      throw FormatError(
        .noSuchEntry, path: bundle.path, entry: name, expected: closestName(to: name, among: names))
    }
    (bank, entry) = first
    summary = bank.isExternal ? nil : try ValueSummary(entry, in: bundle)
    others = found.dropFirst().map(\.bank.name)
  }

  private var line: TensorLine { TensorLine(bank: bank.name, entry, isExternal: bank.isExternal) }

  var json: JSON {
    var object = line.json.object?.members.map { ($0.key, $0.value) } ?? []
    object = [("schema", 1), ("format", "tensor")] + object
    object.append(("also_in", .array(others.map(JSON.string))))
    object.append(("content_hash", .string(entry.contentHash.description)))
    object.append(("values", summary?.json ?? .null))
    return .object(object)
  }

  var lines: [String] {
    let shape = entry.type.shape.map(String.init).joined(separator: " × ")
    var lines = [
      "\(Terminal.bold(entry.name.printable))  \(line.dtype), \(shape.isEmpty ? "scalar" : shape)",
      "  bank \(bank.name), \(line.codec): \(formatted(bytes: entry.storedBytes)) stored of \(formatted(bytes: entry.type.rawBytes)) in \(entry.chunks.count) chunk\(entry.chunks.count == 1 ? "" : "s")"
        .printable,
      "  content hash \(entry.contentHash)",
    ]
    if let summary { lines.append("  " + summary.text) }
    if let other = others.first {
      let more = others.count > 1 ? " and \(others.count - 1) more" : ""
      lines.append("  also in \(other)\(more): name one as \(other):NAME".printable)
    }
    return lines
  }
}

/// Smallest, largest, mean and root mean square of a float tensor.
private struct ValueSummary {
  private var smallest = Double.infinity
  private var largest = -Double.infinity
  private var sum = 0.0
  private var squares = 0.0
  private var zeros = 0
  private var odd = 0
  private var count = 0

  init?(_ entry: Entry, in bundle: Bundle) throws(FormatError) {
    guard let values = FloatValues(entry.type), entry.chunkRawBytes > 0 else { return nil }
    let source = bundle.source(of: entry)
    let buffer = RawBuffer(count: entry.chunkRawBytes)
    var offset = 0
    while offset < entry.type.rawBytes {
      let part = unsafe buffer.prefix(min(entry.chunkRawBytes, entry.type.rawBytes - offset))
      try unsafe source.read(into: part, at: UInt64(offset))
      let floats = unsafe [Float](
        unsafeUninitializedCapacity: values.count(of: part.count, at: offset)
      ) { floats, count in
        count = values.count(of: part.count, at: offset)
        unsafe values.convert(
          UnsafeRawBufferPointer(part), at: offset,
          to: UnsafeMutableBufferPointer(rebasing: floats[..<count]))
      }
      for value in floats { add(Double(value)) }
      offset += part.count
    }
  }

  private mutating func add(_ value: Double) {
    count += 1
    guard value.isFinite else {
      odd += 1
      return
    }
    smallest = min(smallest, value)
    largest = max(largest, value)
    sum += value
    squares += value * value
    if value == 0 { zeros += 1 }
  }

  private var finite: Double { Double(max(count - odd, 1)) }

  var json: JSON {
    [
      "min": .double(smallest), "max": .double(largest), "mean": .double(sum / finite),
      "rms": .double((squares / finite).squareRoot()), "zeros": .integer(zeros), "not_finite": .integer(odd),
    ]
  }

  var text: String {
    var text =
      "min \(significant(smallest)), max \(significant(largest)), mean \(significant(sum / finite)), rms \(significant((squares / finite).squareRoot()))"
    if zeros > 0 { text += ", \(zeros) zeros" }
    if odd > 0 { text += ", \(odd) not finite" }
    return text
  }
}
