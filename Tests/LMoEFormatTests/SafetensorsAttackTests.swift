import Foundation
import LMoECore
import LMoEFormat
import Testing

/// Malformed and hostile files: refused with a reason, or read consistently; never a trap.
@Suite struct SafetensorsAttackTests {
  /// Files that the reference library takes and this project refuses, each with what the error says.
  static let refusedOnPurpose = [
    "dtype_f6": "a dtype this tool supports, not F6_E2M3",
    "dtype_object": "expected a string",
    "duplicate_tensor_escaped": "it overlaps another tensor",
    "duplicate_tensor_same": "it overlaps another tensor",
    "leading_space": "does not begin with '{'",
    "metadata_duplicate_key": "stands twice in one object",
    "metadata_is_null": "expected an object",
    "name_escape_sequence": "without control characters",
    "name_long": "a name of 1 to 1024 bytes",
    "name_newline": "without control characters",
    "name_nul": "without control characters",
    "name_path": "without control characters and \"..\"",
    "rank_5000": "at most 8 dimensions",
    "shape_zero_dim_over_2_63": "a smaller shape",
    "shape_zero_times_huge": "a smaller shape",
    "tensor_is_array": "expected an object",
    "unknown_field": "no field but dtype, shape and data_offsets",
  ]

  @Test func `the attacks`() throws {
    let index = try #require(try JSON(parsing: SafetensorsSamples.fixture("attacks/index.json")).object)
    let files = try FileManager.default.contentsOfDirectory(atPath: SafetensorsSamples.directory + "/attacks")
    #expect(Set(index.members.map(\.key)) == Set(files.filter { $0 != "index.json" }))
    #expect(index.members.count >= 105)
    var accepted = 0
    for (file, facts) in index.members {
      let name = file.replacingOccurrences(of: ".safetensors", with: "")
      let what = try #require(facts["what"]?.string)
      let bytes = try SafetensorsSamples.fixture("attacks/\(file)")
      let libraryAccepts = try #require(facts["library_accepts"]?.bool as Bool?)
      if libraryAccepts && Self.refusedOnPurpose[name] == nil {
        #expect(throws: Never.self, "\(file): \(what)") {
          try Self.check(try SafetensorsSamples.open(bytes), bytes)
        }
        accepted += 1
      } else {
        let error = SafetensorsSamples.refusal(bytes, "\(file): \(what)")
        if let reason = Self.refusedOnPurpose[name] {
          #expect(error?.description.contains(reason) == true, "\(file): \(String(describing: error))")
        }
        #expect(!libraryAccepts || !(what.contains("valid") || what.contains("legal")), "\(file): \(what)")
      }
    }
    #expect(accepted == 10)
    #expect(
      Self.refusedOnPurpose.keys.allSatisfy { index["\($0).safetensors"]?["library_accepts"]?.bool == true })
  }

  /// Whatever is accepted must be consistent: it covers the file once, names are unique, bytes can be read.
  private static func check(_ file: SafetensorsFile, _ bytes: [UInt8]) throws {
    var position = file.header.dataStart
    #expect(position == UInt64(file.head.count))
    for (tensor, read) in zip(file.tensors, try ExpectedTensor.read(file)) {
      #expect(tensor.offset == position)
      let elements = tensor.type.shape.reduce(1, *)
      #expect(tensor.type.rawBytes == elements * (tensor.type.dtype.elementBytes ?? 0))
      #expect(read.data == Array(bytes[Int(position)..<Int(position) + tensor.type.rawBytes]))
      position += UInt64(tensor.type.rawBytes)
    }
    #expect(position == UInt64(bytes.count))
    #expect(Set(file.tensors.map { ByteKey($0.name) }).count == file.tensors.count)
  }

  /// A small file with all that a header can have.
  static let sample = SafetensorsSamples.file(
    header: """
      {"__metadata__":{"format":"pt","\\u00e9":"x\\n"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},\
      "b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"c.0":{"data_offsets":[10,10],"shape":[0,3],"dtype":"I64"},\
      "\u{e9}":{"dtype":"U8","shape":[11],"data_offsets":[10,21]}}  \n
      """, data: Array(0..<21))

  @Test func `every truncation`() throws {
    try Self.check(try SafetensorsSamples.open(Self.sample), Self.sample)
    for length in 0..<Self.sample.count {
      let error = SafetensorsSamples.refusal(Array(Self.sample[..<length]), "\(length)")
      if length >= 8 {
        #expect(error?.description.contains("truncated") == true || error?.entry != nil, "\(length)")
      }
    }
    for extra in [1, 3, 100] {
      _ = SafetensorsSamples.refusal(Self.sample + [UInt8](repeating: 0, count: extra))
    }
  }

  @Test func `every changed byte of the head`() throws {
    let end = Int(try SafetensorsSamples.open(Self.sample).header.dataStart)
    let replacements = Array("\"\\{}[],:0129-+.eEtfnu u\n\0".utf8) + [0x7F, 0x80, 0xC3, 0xFF]
    var (accepted, refused) = (0, 0)
    for index in 0..<end {
      let original = Self.sample[index]
      let flipped = (0..<8).map { original ^ (1 << $0) } + [~original]
      for byte in Set(replacements + flipped) where byte != original {
        var bytes = Self.sample
        bytes[index] = byte
        do {
          try Self.check(try SafetensorsSamples.open(bytes), bytes)
          accepted += 1
        } catch let error as FormatError {
          #expect(error.code == .safetensorsInvalid && error.path != nil, "byte \(index)")
          refused += 1
        }
      }
    }
    // Names and metadata may change unseen, structure may not.
    #expect(accepted > 100 && refused > 3 * accepted, "\(accepted) \(refused)")
  }

  @Test func `every removed and doubled byte of the head`() throws {
    let header = Array(Self.sample[8..<Int(try SafetensorsSamples.open(Self.sample).header.dataStart)])
    let data = Array(Self.sample.suffix(21))
    for index in header.indices {
      for copies in [0, 2] {
        var text = header
        text.replaceSubrange(index...index, with: repeatElement(header[index], count: copies))
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        let bytes = length + text + data
        do {
          try Self.check(try SafetensorsSamples.open(bytes), bytes)
        } catch let error as FormatError {
          #expect(error.code == .safetensorsInvalid, "byte \(index)")
        }
      }
    }
  }

  @Test(arguments: [
    ("100000001", 100_000_001 as UInt64), ("18446744073709551615", .max), ("9223372036854775808", 1 << 63),
  ])
  func `a length word is not believed`(text: String, length: UInt64) {
    let word = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    let error = SafetensorsSamples.refusal(word + Array("{}".utf8))
    #expect(error?.description.contains("found \(text)") == true)
  }
}
