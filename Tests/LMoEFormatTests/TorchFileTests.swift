import Foundation
import LMoECore
import LMoEFormat
import Testing

/// Files of `torch.save`, read without running them.
@Suite struct TorchFileTests {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures/torch").standardizedFileURL.path

  private static func fixture(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: "\(directory)/\(name)")))
  }

  @Test func `tensors of every type`() throws {
    let file = try TorchFile(path: Self.directory + "/tensors.bin")
    let expected = try #require(try JSON(parsing: try Self.fixture("tensors.expected.json")).object)
    #expect(file.tensors.count == expected.members.count)
    let names = [
      "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.float64": "F64",
      "torch.int64": "I64", "torch.int32": "I32", "torch.uint8": "U8", "torch.bool": "BOOL",
    ]
    for tensor in file.tensors {
      let value = try #require(expected[tensor.name], "\(tensor.name)")
      #expect(tensor.type.dtype.name == names[value["dtype"]?.string ?? ""], "\(tensor.name)")
      #expect(tensor.type.shape == value["shape"]?.array?.compactMap(\.int))
      var data = [UInt8](repeating: 0xEE, count: tensor.type.rawBytes)
      try data.withUnsafeMutableBytes { try file.source(of: tensor).read(into: $0, at: 0) }
      #expect(data.map { String(format: "%02x", $0) }.joined() == value["bytes"]?.string, "\(tensor.name)")
    }
  }

  @Test func `a model's state`() throws {
    let file = try TorchFile(path: Self.directory + "/state.bin")
    #expect(file.tensors.map(\.name) == ["bias", "weight"])
    #expect(file.tensors.map(\.type.shape) == [[3], [3, 2]])
  }

  static let refused = [
    ("attack.bin", "it would call what tensors do not need: found posix.system"),
    ("nested.bin", "it is no tensor"), ("list.bin", "it is no dictionary of tensors"),
    ("transposed.bin", "its rows do not lie one after the other"), ("plain.pkl", "it is no zip archive"),
  ]

  @Test(arguments: refused) func `anything else is refused and not run`(name: String, says: String) throws {
    let error = #expect(throws: FormatError.self) { try TorchFile(path: Self.directory + "/" + name) }
    let sentence = error?.description ?? ""
    #expect(
      sentence.contains(says) || sentence.contains(says.replacingOccurrences(of: "found ", with: "")),
      "\(sentence)")
    #expect(sentence.contains("it was not run"))
  }

  @Test(arguments: ["tensors.bin", "state.bin", "attack.bin"])
  func `every truncation and every flipped bit is read or refused`(name: String) throws {
    let whole = try Self.fixture(name)
    func read(_ bytes: [UInt8]) throws -> Bool {
      do throws(FormatError) {
        let system = SimulatedFileSystem(files: ["x.bin": bytes])
        let file = try TorchFile(path: "x.bin", in: system)
        for tensor in file.tensors {
          var data = [UInt8](repeating: 0, count: tensor.type.rawBytes)
          let source = file.source(of: tensor)
          var failure: FormatError?
          data.withUnsafeMutableBytes { buffer in
            do throws(FormatError) { try source.read(into: buffer, at: 0) } catch { failure = error }
          }
          #expect(failure == nil)
        }
        return true
      } catch {
        #expect(error.code == .torchInvalid && error.description.hasPrefix("x.bin"))
        return false
      }
    }
    for count in 0..<whole.count { #expect(try !read(Array(whole[..<count])), "\(count)") }
    var accepted = 0
    for index in whole.indices {
      for bit in [0, 3, 7] {
        var bytes = whole
        bytes[index] ^= 1 << bit
        if try read(bytes) { accepted += 1 }
      }
    }
    #expect(name == "attack.bin" || accepted > 0)
  }
}
