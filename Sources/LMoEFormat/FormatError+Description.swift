import LMoECore

extension FormatError: CustomStringConvertible {
  /// One sentence that names the file, the bank, the tensor and the remedy.
  public var description: String {
    let file = (path ?? "the file").printable
    let place = [
      bank.map { "bank \"\($0.printable)\"" }, entry.map { "\"\($0.printable)\"" },
      offset.map { "offset \($0)" },
    ].compactMap(\.self).joined(separator: ", ")
    let located = place.isEmpty ? file : "\(file): \(place)"
    var detail = ""
    if let field { detail = " (\(field.printable)" }
    if let expected { detail += "\(detail.isEmpty ? " (" : ": ")expected \(expected.printable)" }
    if let found {
      detail += "\(detail.isEmpty ? " (" : expected == nil ? ": " : ", ")found \(found.printable)"
    }
    if !detail.isEmpty { detail += ")" }
    let again =
      "get the file again, or salvage an older generation with \"lmoe-tool compact --recover -o NEW\""

    let older = "restore an older generation (\"lmoe-tool history\"), or get the file again"

    switch code {
    case .notLMoE: return "\(file) is not an .lmoe bundle"
    case .truncated:
      return
        "\(file) is truncated: it should have \(expected ?? "more") bytes and has \(found ?? "fewer"); \(again)"
    case .headerDamaged: return "\(file): both copies of the header are damaged; get the file again"
    case .headerInvalid: return "\(file): the header is not valid\(detail); get the file again"
    case .unsupportedVersion:
      return "\(file) has format version \(found ?? "?"); this tool reads version 1: use a newer lmoe-tool"
    case .superblocksDamaged:
      return
        "\(file): no superblock is whole, so the newest state cannot be found; \(again)"
    case .superblockInvalid: return "\(located): a superblock breaks the format\(detail); get the file again"
    case .unsupportedFeature:
      return "\(file) uses a feature this tool does not know\(detail): use a newer lmoe-tool"
    case .rootDamaged: return "\(located): the root index is damaged; \(again)"
    case .rootInvalid: return "\(located): the root index breaks the format\(detail); \(again)"
    case .manifestDamaged: return "\(located): the manifest is damaged; \(older)"
    case .manifestInvalid: return "\(located): the manifest breaks the format\(detail); \(older)"
    case .unsupportedDType: return "\(located): unknown dtype\(detail): use a newer lmoe-tool"
    case .cardDamaged: return "\(located): the card is damaged; \(older)"
    case .cardInvalid: return "\(located): the card is not valid\(detail)"
    case .chunkDamaged: return "\(located): stored bytes are damaged; restore this bank from a copy"
    case .chunkInvalid:
      return "\(located): stored bytes do not decode\(detail); restore this bank from a copy"
    case .contentMismatch:
      return
        "\(located): the decoded bytes are not those that were stored\(detail); restore this bank from a copy"
    case .nothingToRecover:
      return "\(file): no whole generation is left in its \(found ?? "?") bytes; get the file again"
    case .io: return self.file?.description ?? "input/output error on \(located)"
    case .safetensorsInvalid: return "\(located): not a valid safetensors file\(detail); export it again"
    case .ggufInvalid:
      return "\(located): not a valid GGUF file\(detail); download it or convert the model again"
    case .readOnlyFeature:
      return "\(file) uses a feature this tool can read but not write\(detail): use a newer lmoe-tool"
    case .successorFound:
      return
        "\(file): a newer generation (\(found ?? "?")) was written and its superblock is lost; run \"lmoe-tool restore \(file) --generation \(found ?? "N")\" to publish it or \"--generation \(expected ?? "N")\" to drop it"
    case .locked: return "\(file) is being changed by another process; wait for it and run the command again"
    case .locksUnsupported:
      return
        "\(file) is on a file system without locks; make sure nobody else writes to it and add \"--no-lock\""
    case .replaced:
      return
        "\(file) was replaced or removed by another process meanwhile, and was not changed; run the command again"
    case .commitUncertain:
      return
        "\(file): the last step of the change failed, so it may or may not have taken effect; run \"lmoe-tool history \(file)\" to see (\(self.file?.description ?? "unknown error"))"
    case .writerClosed: return "\(file): an earlier error ended this change; run the command again"
    case .noSuchBank:
      return "\(file) has no bank \"\((bank ?? "?").printable)\"\(Self.suggestion(expected))"
    case .noSuchEntry:
      return "\(file) has no tensor \"\((entry ?? "?").printable)\"\(Self.suggestion(expected))"
    case .noSuchGeneration:
      return "\(file) has no generation \(found ?? "?")\(expected.map { "; it has \($0)" } ?? "")"
    case .bankExists:
      return
        "\(file) already has a bank \"\((bank ?? "?").printable)\"; remove it first or choose another name"
    case .invalidName:
      return
        "\(located): the name \"\((found ?? "").printable)\" cannot be used\(field.map { " (\($0))" } ?? "")"
    case .tooLarge: return "\(located): too large\(detail)"
    case .external:
      return
        "\(located): the weights of this bank are not in the file; name the checkpoint or the bundle that has them with --base"
    case .alreadyExists: return "\(file) already exists; choose another name or remove it"
    case .encodingFailed:
      return
        "\(located): encoding failed its own check\(detail); this is a fault of the machine or of this tool, and nothing was changed"
    }
  }

  private static func suggestion(_ closest: String?) -> String {
    closest.map { "; did you mean \"\($0.printable)\"?" } ?? ""
  }
}
