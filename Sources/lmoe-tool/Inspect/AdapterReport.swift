import LMoECore
import LMoEExperts
import LMoEFormat

/// `inspect` of a PEFT adapter.
struct AdapterReport: InspectReport {
  private let adapter: PEFTAdapter
  private let withTensors: Bool

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
          adapter.groups.map { group in
            let numbers = group.numbers
            return [
              "rank": .integer(numbers.rank), "alpha": .double(numbers.alpha),
              "scaling": .double(numbers.scaling), "dora": .bool(numbers.isDoRA),
              "lora_bias": .bool(numbers.hasBias), "embedding": .bool(numbers.isEmbedding),
              "targets": .array(group.targets.map(JSON.string)),
            ]
          })
      ),
      ("replaces", .array(adapter.replacedTensors.map(JSON.string))),
      (
        "tokens",
        .array(
          adapter.trainedTokens.map { ["module": .string($0.module), "count": .integer($0.count)] })
      ),
      ("unknown_keys", .array(adapter.unknownKeys.map(JSON.string))),
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
      lines.append("  \(group.numbers.summary): " + targetSummary(group.targets).printable)
    }
    let replaced = adapter.replacedTensors
    if !replaced.isEmpty { lines.append("  whole tensors: \(targetSummary(replaced))".printable) }
    for rows in adapter.trainedTokens {
      lines.append("  \(rows.count) trained rows of \(rows.module)".printable)
    }
    return withTensors ? lines + [""] + TensorLine.table(tensors).lines : lines
  }
}

extension ModuleGroup.Numbers {
  /// `rank 8, alpha 16, scaling 2`, and what else there is.
  var summary: String {
    var text = "rank \(rank), alpha \(shortest(alpha)), scaling \(shortest(scaling))"
    if isDoRA { text += ", DoRA" }
    if hasBias { text += ", bias on B" }
    if isEmbedding { text += ", embedding" }
    return text
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
