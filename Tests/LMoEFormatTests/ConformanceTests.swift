import Foundation
import LMoECore
import LMoEFormat
import Testing

/// Every file of `spec/corpus`, read as the specification's full check reads it, gives the JSON beside it.
@Suite struct ConformanceTests {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../spec/corpus").standardizedFileURL.path

  static let names: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [])
    .filter { $0.hasSuffix(".lmoe.zst") }.map { String($0.dropLast(".lmoe.zst".count)) }.sorted()

  @Test func `the corpus is there`() {
    #expect(Self.names.count >= 260)
  }

  @Test(arguments: [false, true]) func `every file`(isLoading: Bool) throws {
    for name in Self.names {
      let compressed = [UInt8](try Data(contentsOf: URL(filePath: "\(Self.directory)/\(name).lmoe.zst")))
      let expected = try JSON(
        parsing: [UInt8](try Data(contentsOf: URL(filePath: "\(Self.directory)/\(name).json"))),
        maximumDepth: 100)
      let bytes = try #require(decompressedZstd(compressed, limit: 64 << 20), "\(name)")
      let found = Self.check(bytes, isLoading: isLoading)
      #expect(Self.byValue(found) == Self.byValue(expected), "\(name): \(found.serialized())")
    }
  }

  /// Numbers in one spelling: integers as they are, others as the shortest text of the double.
  private static func byValue(_ json: JSON) -> JSON {
    switch json {
    case .number(let number) where number.text.contains(where: { ".eE".contains($0) }):
      number.double.map(JSON.double) ?? json
    case .array(let elements): .array(elements.map(byValue))
    case .object(let object): .object(object.members.map { ($0.key, byValue($0.value)) })
    default: json
    }
  }

  /// The full check of specification §5, entry by entry, or with each bank brought into memory as a whole.
  static func check(_ bytes: [UInt8], isLoading: Bool = false) -> JSON {
    let system = SimulatedFileSystem(files: ["file": bytes])
    do {
      let bundle = try Bundle(path: "file", in: system)
      let pool = WorkerPool(count: 1)
      var banks: [JSON] = []
      for bank in bundle.banks {
        let manifest = try bundle.manifest(of: bank)
        let card = try bundle.card(of: bank) ?? .null
        let entries = manifest.entries.filter { !$0.chunks.isEmpty || $0.type.rawBytes == 0 }
          .map { BankedEntry(bank: bank.name, entry: $0) }
        if isLoading { _ = try bundle.load(entries, on: WorkerPool(count: 2)) { _ in nil } }
        for entry in entries where !isLoading { try bundle.decode([entry], on: pool) { _, _, _ in } }
        let flags: [JSON] = (bank.isExternal ? ["external"] : []) + (bank.isRaw ? ["raw"] : [])
        banks.append([
          "name": .string(bank.name), "id": .string(bank.id.description), "flags": .array(flags),
          "content_id": .string(bank.contentID.description), "card": card,
          "tensors": .array(manifest.tensors.map { json($0) }),
          "documents": .array(manifest.documents.map { json($0) }),
        ])
      }
      return [
        "ok": true, "file_uuid": .string(bundle.header.fileUUID.description),
        "generation": .integer(bundle.generation), "damaged_copies": .integer(bundle.damagedCopies),
        "successor": .bool(bundle.successor != nil), "writable": .bool(bundle.isWritable),
        "note": .string(bundle.root.note),
        "generations": .array(try bundle.history().map { .integer($0.root.generation) }),
        "banks": .array(banks),
      ]
    } catch {
      let ofEntry = [.chunkDamaged, .chunkInvalid, .contentMismatch].contains(error.code)
      return [
        "ok": false, "error": .string(error.code.rawValue),
        "bank": error.code == .rootInvalid ? .null : error.bank.map(JSON.string) ?? .null,
        "entry": ofEntry ? error.entry.map(JSON.string) ?? .null : .null,
      ]
    }
  }

  private static func json(_ entry: Entry) -> JSON {
    var object: [(String, JSON)] = [("name", .string(entry.name))]
    if entry.class == .tensor {
      object.append(("dtype", .string(entry.type.dtype.name)))
      object.append(("shape", .array(entry.type.shape.map { .integer($0) })))
    }
    let codecs = Codec.allCases.filter { codec in entry.chunks.contains { $0.codec == codec } }
    object += [
      ("raw_bytes", .integer(entry.type.rawBytes)), ("stored_bytes", .integer(entry.storedBytes)),
      ("codecs", .array(codecs.map { .string($0.name) })), ("hash", .string(entry.contentHash.description)),
    ]
    if let geometry = entry.type.geometry {
      object.append(
        (
          "geometry",
          [
            "scheme": .integer(geometry.scheme), "block_elements": .integer(geometry.blockElements),
            "block_bytes": .integer(geometry.blockBytes), "layout": .integer(geometry.layout.rawValue),
            "fields": .array(geometry.fields.map { .integer($0) }),
          ]
        ))
    }
    return .object(object)
  }
}

/// The worked example of `spec/example.md` is the file that it says it is.
@Suite struct ExampleTests {
  @Test func `every byte shown is in the file, and every byte not shown is zero, but for the card`() throws {
    let spec = ConformanceTests.directory + "/.."
    let compressed = [UInt8](try Data(contentsOf: URL(filePath: spec + "/corpus/minimal.lmoe.zst")))
    let file = try #require(decompressedZstd(compressed, limit: 1 << 20))
    let page = try String(contentsOf: URL(filePath: spec + "/example.md"), encoding: .utf8)
    var shown = Set<Int>()
    for line in page.split(separator: "\n") {
      guard let offset = Int(line.prefix(6), radix: 16), line.dropFirst(6).hasPrefix("  ") else { continue }
      var place = offset
      for word in line.dropFirst(8).prefix(48).split(separator: " ", omittingEmptySubsequences: false) {
        guard word.count == 2, let byte = UInt8(word, radix: 16) else { break }
        #expect(file[place] == byte, "\(String(place, radix: 16))")
        shown.insert(place)
        place += 1
      }
    }
    #expect(shown.count > 600)
    for (place, byte) in file.enumerated() where byte != 0 && !shown.contains(place) {
      let isSecondCopy = (0x800..<0xA00).contains(place) || (0x8800..<0x8A00).contains(place)
      #expect(isSecondCopy || (0x100B8..<0x101EF).contains(place), "\(String(place, radix: 16))")
    }
  }
}
