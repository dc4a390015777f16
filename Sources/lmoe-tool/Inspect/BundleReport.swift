import LMoECore
import LMoEExperts
import LMoEFormat

/// `inspect` of a bundle: one screen, and more where it is asked for.
struct BundleReport: InspectReport {
  /// What to show besides the first screen.
  struct Details: OptionSet {
    let rawValue: Int
    static let tensors = Details(rawValue: 1)
    static let history = Details(rawValue: 2)
    static let experts = Details(rawValue: 4)
    static let gates = Details(rawValue: 8)
    static let provenance = Details(rawValue: 16)
  }

  let bundle: Bundle
  let details: Details
  let base: (bank: BankEntry, card: JSON?)?
  let experts: [ExpertFacts]
  let gates: [GateDetails]
  let provenance: [ProvenanceDetails]
  let tensors: [TensorLine]
  let history: [Bundle.Generation]
  let liveBytes: UInt64

  init(_ bundle: Bundle, _ details: Details) throws {
    self.bundle = bundle
    self.details = details
    base = try bundle.root.bank("base").map { ($0, try bundle.card(of: $0)) }
    experts = try bundle.banks(ofKind: "expert").map { ExpertFacts($0, card: try bundle.card(of: $0)) }
    gates = try bundle.banks(ofKind: "gate").map {
      try GateDetails($0, in: bundle, readsRows: details.contains(.gates))
    }
    provenance =
      details.contains(.provenance)
      ? try bundle.banks.map {
        ProvenanceDetails(
          bank: $0, card: try bundle.card(of: $0), documents: Array(try bundle.manifest(of: $0).documents))
      } : []
    let withTensors = details.contains(.tensors)
    tensors =
      withTensors
      ? try bundle.banks.flatMap { bank in
        try bundle.manifest(of: bank).tensors.map {
          TensorLine(bank: bank.name, $0, isExternal: bank.isExternal)
        }
      } : []
    history = details.contains(.history) ? try bundle.history() : []
    // The exact number needs every manifest; those are read for --tensors anyway.
    liveBytes = withTensors ? try bundle.liveBytes() : min(bundle.superblock.liveBytes, bundle.fileBytes)
  }

  var runsFromMap: Bool { bundle.banks.allSatisfy(\.isRaw) }

  var lines: [String] {
    var lines = overview
    if details.contains(.experts) { lines += experts.flatMap { [""] + ExpertDetails(expert: $0).lines } }
    if details.contains(.gates) { lines += gates.flatMap { [""] + $0.lines } }
    lines += provenance.flatMap { [""] + $0.lines }
    if details.contains(.tensors) { lines += [""] + TensorLine.table(tensors).lines }
    if details.contains(.history) { lines += [""] + History.table(history).lines }
    return lines
  }

  /// The first screen.
  private var overview: [String] {
    // Of as many banks as a root may have, the sums fit no signed integer.
    let embedded = bundle.banks.filter { !$0.isExternal }
    let logical = embedded.reduce(UInt64(0)) { $0 + $1.logicalBytes }
    let stored = embedded.reduce(UInt64(0)) { $0 + $1.storedBytes }
    var first = "\(Terminal.bold(bundle.path.printable))  L-MoE bundle, \(formatted(bytes: bundle.fileBytes))"
    if runsFromMap {
      first += ", runs from the memory map"
    } else if logical > stored {
      first += ", compression saved \(formatted(bytes: logical - stored))"
    }
    var lines = [first]
    if bundle.isRecovered { lines.append("  recovered: the newest generation is damaged") }
    if let successor = bundle.successor {
      lines.append("  generation \(successor) was written and its superblock is lost; see \"restore\"")
    }
    lines += labelled("base", baseLines)
    if !experts.isEmpty { lines += [""] + ExpertFacts.table(experts).lines }
    if !experts.isEmpty || !gates.isEmpty { lines.append("") }
    lines += labelled("gates", gates.isEmpty ? ["none"] : gates.map(\.summary))
    lines += labelled("history", [historyLine])
    let dead = bundle.fileBytes - min(liveBytes, bundle.fileBytes)
    if dead > bundle.fileBytes / 10 * 3 {
      lines += labelled("", ["about \(formatted(bytes: dead)) are history; \"lmoe-tool compact\" drops them"])
    }
    return lines
  }

  private var historyLine: String {
    let root = bundle.root
    let time = formatted(nanoseconds: root.commitNanoseconds).prefix(16)
    return
      "generation \(root.generation)\(root.parent == nil ? "" : ", older kept"), \(time) UTC: \(root.note)"
      .printable
  }

  private var baseLines: [String] {
    guard let (bank, card) = base else { return ["none"] }
    let name = card?["provenance"]?["imported_from"]?.string ?? "unnamed"
    let parameters = card?["parameters"]?.int ?? 0
    let dtypes = (card?["dtypes"]?.object?.members ?? []).map(\.key).joined(separator: " ")
    let architecture = card?["architecture"]?.string ?? card?["model_type"]?.string ?? "unknown architecture"
    var lines = ["\(name): \(architecture), \(formatted(count: parameters)) parameters, \(dtypes)".printable]
    lines += card?["model"].flatMap(ModelConfiguration.init(card:))?.summary ?? []
    if let text = card?["text"].flatMap(TokenizerFiles.init(card:)) {
      lines += wrapped(text.summary, to: Self.room)
    }
    let share = 100 * Double(bank.storedBytes) / Double(max(bank.logicalBytes, 1))
    lines.append(
      bank.isExternal
        ? "weights not in the file (\(formatted(bytes: bank.logicalBytes))); name them with --base"
        : "stored in \(formatted(bytes: bank.storedBytes)) of \(formatted(bytes: bank.logicalBytes)) (\(formatted(share, digits: 1)) %), id \(bank.contentID.description.prefix(12))…"
    )
    return lines
  }

  private func labelled(_ label: String, _ lines: [String]) -> [String] {
    lines.enumerated().map { index, line in
      "  " + (index == 0 ? Terminal.dim(label.padded(to: 8)) : "".padded(to: 8)) + " "
        + line.cut(to: Self.room)
    }
  }

  /// Columns beside the labels.
  private static var room: Int { Terminal.width - 11 }
}
