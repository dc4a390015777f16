import LMoECore
import LMoEExperts
import LMoEFormat

/// A line of `--tensors`.
struct TensorLine {
  let bank: String
  let name: String
  let type: TensorType
  let storedBytes: UInt64
  let codec: String

  init(bank: String, name: String, type: TensorType, storedBytes: UInt64, codec: String) {
    self.bank = bank
    self.name = name
    self.type = type
    self.storedBytes = storedBytes
    self.codec = codec
  }

  init(bank: String, _ entry: Entry, isExternal: Bool) {
    let codecs = Codec.allCases.filter { codec in entry.chunks.contains { $0.codec == codec } }
    self.init(
      bank: bank, name: entry.name, type: entry.type, storedBytes: entry.storedBytes,
      codec: isExternal ? "external" : codecs.map { $0.name.lowercased() }.joined(separator: "+"))
  }

  init(_ tensor: SafetensorsTensor, bank: String) {
    self.init(
      bank: bank, name: tensor.name, type: tensor.type, storedBytes: UInt64(tensor.type.rawBytes),
      codec: "raw")
  }

  var dtype: String { type.geometry?.name ?? type.dtype.name }

  var json: JSON {
    [
      "bank": .string(bank), "name": .string(name), "dtype": .string(dtype),
      "shape": .array(type.shape.map { .integer($0) }), "raw_bytes": .integer(type.rawBytes),
      "stored_bytes": .integer(storedBytes), "codec": .string(codec),
    ]
  }

  static func table(_ lines: [TensorLine]) -> Table {
    var table = Table([
      ("bank", .left), ("tensor", .left), ("dtype", .left), ("shape", .left), ("bytes", .right),
      ("stored", .right), ("codec", .left),
    ])
    for line in lines {
      table.add([
        line.bank, line.name, line.dtype,
        "[" + line.type.shape.map(String.init).joined(separator: ", ") + "]",
        formatted(bytes: line.type.rawBytes), formatted(bytes: line.storedBytes), line.codec,
      ])
    }
    return table
  }
}

/// `inspect` of a safetensors file.
struct SafetensorsReport: InspectReport {
  let file: SafetensorsFile
  let withTensors: Bool

  init(_ file: SafetensorsFile, withTensors: Bool) {
    self.file = file
    self.withTensors = withTensors
  }

  private var tensors: [TensorLine] { file.tensors.map { TensorLine($0, bank: "–") } }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "safetensors"), ("path", .string(file.path)),
      ("tensor_count", .integer(file.tensors.count)),
      ("parameters", .integer(file.tensors.reduce(0) { $0 + $1.type.elementCount })),
      ("metadata", .object(file.header.metadata.map { ($0.key, .string($0.value)) })),
    ]
    if withTensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    return .object(object)
  }

  var lines: [String] {
    let parameters = file.tensors.reduce(0) { $0 + $1.type.elementCount }
    var lines = [
      "\(Terminal.bold(file.path.printable))  safetensors, \(file.tensors.count) tensors, \(formatted(count: parameters)) parameters"
    ]
    for (key, value) in file.header.metadata { lines.append("  \(key.printable): \(value.printable)") }
    return withTensors ? lines + TensorLine.table(tensors).lines : lines
  }
}

/// `inspect` of a Hugging Face checkpoint.
struct CheckpointReport: InspectReport {
  let checkpoint: HFCheckpoint
  let withTensors: Bool

  init(_ checkpoint: HFCheckpoint, withTensors: Bool) {
    self.checkpoint = checkpoint
    self.withTensors = withTensors
  }

  private var tensors: [TensorLine] {
    checkpoint.files.flatMap { item in item.file.tensors.map { TensorLine($0, bank: item.name) } }
  }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "hf"), ("path", .string(checkpoint.path)),
      ("architecture", checkpoint.architecture.map(JSON.string) ?? .null),
      ("model_type", checkpoint.modelType.map(JSON.string) ?? .null),
      ("parameters", .integer(checkpoint.parameters)),
      ("files", .array(checkpoint.files.map { .string($0.name) })),
    ]
    if withTensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    return .object(object)
  }

  var lines: [String] {
    let lines = [
      "\(Terminal.bold(checkpoint.path.printable))  Hugging Face checkpoint",
      "  \((checkpoint.architecture ?? "unknown architecture").printable), \(formatted(count: checkpoint.parameters)) parameters in \(checkpoint.files.count) file\(checkpoint.files.count == 1 ? "" : "s")",
    ]
    return withTensors ? lines + TensorLine.table(tensors).lines : lines
  }
}

/// `inspect` of a PEFT adapter.
struct AdapterReport: InspectReport {
  let adapter: PEFTAdapter
  let withTensors: Bool

  init(_ adapter: PEFTAdapter, withTensors: Bool) {
    self.adapter = adapter
    self.withTensors = withTensors
  }

  private var tensors: [TensorLine] { adapter.file.tensors.map { TensorLine($0, bank: "–") } }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "peft"), ("path", .string(adapter.path)), ("kind", "lora"),
      ("base", adapter.baseName.map(JSON.string) ?? .null), ("parameters", .integer(adapter.parameters)),
      (
        "modules",
        .array(
          adapter.groups.map {
            [
              "rank": .integer($0.rank), "alpha": .double($0.alpha), "scaling": .double($0.scaling),
              "targets": .array($0.targets.map(JSON.string)),
            ]
          })
      ),
    ]
    if withTensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    return .object(object)
  }

  var lines: [String] {
    var lines = [
      "\(Terminal.bold(adapter.path.printable))  PEFT adapter (LoRA) of \((adapter.baseName ?? "an unnamed base").printable)",
      "  \(formatted(count: adapter.parameters)) parameters, \(adapter.modules.count) modules",
    ]
    for group in adapter.groups {
      lines.append(
        "  rank \(group.rank), alpha \(JSON.double(group.alpha).serialized()), scaling \(formatted(group.scaling, digits: 4)): "
          + targetSummary(group.targets).printable)
    }
    return withTensors ? lines + TensorLine.table(tensors).lines : lines
  }
}

/// The last components of module names, each once, in order of appearance.
func targetSummary(_ modules: [String]) -> String {
  var seen: [String] = []
  var known: Set<String> = []
  for module in modules {
    // Bytes, not characters: a bundle of many experts has tens of thousands of names.
    let name = module.utf8[...]
    let dot = name.lastIndex(of: UInt8(ascii: "."))
    let last = String(Substring(dot.map { name[name.index(after: $0)...] } ?? name))
    if known.insert(last).inserted { seen.append(last) }
  }
  return seen.joined(separator: " ")
}
