import Foundation
import LMoECore
import LMoEFormat
import Testing

/// Files of the reference library, read as it reads them.
@Suite struct SafetensorsTests {
  static let unsupported = ["C64", "F4", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"]

  @Test func `every supported dtype, bit for bit`() throws {
    let expected = try ExpectedTensor.list("dtypes").filter { !Self.unsupported.contains($0.dtype) }
    #expect(expected.count == 22, "all but the five unsupported ones")
    #expect(Set(expected.map(\.dtype)) == Set(DType.allCases.filter { $0 != .block }.map(\.name)))
    let file = try SafetensorsSamples.open(SafetensorsSamples.file(of: expected))
    let found = try ExpectedTensor.read(file)
    #expect(found.count == expected.count)
    for tensor in expected { #expect(found.contains(tensor), "\(tensor.name)") }
    // Scalars and empty tensors among them.
    #expect(found.first { $0.name == "scalar.f32" }?.shape == [])
    #expect(found.first { $0.name == "empty.bool" }?.shape == [3, 0, 2])
  }

  @Test func `the fixture's own layout`() throws {
    // The header of the fixture with the unsupported dtypes called bytes: offsets as the library laid them.
    let bytes = try SafetensorsSamples.fixture("dtypes.safetensors")
    var text = String(decoding: bytes, as: UTF8.self)
    for (name, shape, dtype, replacement) in [
      ("C64", "[15]", "U64", "[15]"), ("F4", "[16,32]", "U8", "[256]"),
      ("F8_E4M3FNUZ", "[256]", "U8", "[256]"),
      ("F8_E5M2FNUZ", "[256]", "U8", "[256]"), ("F8_E8M0", "[256]", "U8", "[256]"),
    ] {
      text.replace(
        "\"dtype\":\"\(name)\",\"shape\":\(shape)", with: "\"dtype\":\"\(dtype)\",\"shape\":\(replacement)")
    }
    let header = try #require(text.firstIndex(of: "{"))
    let end = try #require(text.range(of: "}}")?.upperBound)
    let length = Int(bytes[0]) | Int(bytes[1]) << 8
    let file = try SafetensorsSamples.open(
      SafetensorsSamples.file(header: String(text[header..<end]), data: Array(bytes[(8 + length)...])))
    #expect(file.header.metadata.map(\.key) == ["format"] && file.header.metadata.map(\.value) == ["pt"])
    let found = try ExpectedTensor.read(file)
    for tensor in try ExpectedTensor.list("dtypes") {
      #expect(found.contains { $0.name == tensor.name && $0.data == tensor.data }, "\(tensor.name)")
    }
    // In the order of their bytes.
    #expect(file.tensors.map(\.offset) == file.tensors.map(\.offset).sorted())
  }

  @Test(arguments: unsupported) func `an unsupported dtype is named`(dtype: String) throws {
    let tensor = try #require(try ExpectedTensor.list("dtypes").first { $0.dtype == dtype })
    let error = SafetensorsSamples.refusal(SafetensorsSamples.file(of: [tensor]))
    #expect(error?.entry == tensor.name)
    #expect(error?.description.contains("not \(dtype)") == true)
    // The whole fixture is refused for the first of them.
    let whole = SafetensorsSamples.refusal(try SafetensorsSamples.fixture("dtypes.safetensors"))
    #expect(whole?.description.contains("\"c64\"") == true && whole?.description.contains("not C64") == true)
  }

  @Test func `names are bytes`() throws {
    let all = try ExpectedTensor.list("names")
    let refused = ["", "tab\tinside", "\u{7F}"]
    let expected = all.filter { !refused.contains($0.name) }
    #expect(expected.count == all.count - 3)
    let found = try ExpectedTensor.read(try SafetensorsSamples.open(SafetensorsSamples.file(of: expected)))
    #expect(found.count == expected.count)
    for tensor in expected { #expect(found.contains(tensor), "\(tensor.name)") }
    #expect(Set(expected.map(\.name)).count < expected.count, "some are equal to String: the test is blind")
    for name in refused {
      let tensor = try #require(all.first { $0.name == name })
      let error = SafetensorsSamples.refusal(SafetensorsSamples.file(of: [tensor]))
      #expect(error?.description.contains("a name of 1 to 1024 bytes") == true)
    }
    _ = SafetensorsSamples.refusal(try SafetensorsSamples.fixture("names.safetensors"))
  }

  @Test func `no tensors`() throws {
    #expect(try ExpectedTensor.list("nothing").isEmpty)
    let file = try SafetensorsSamples.open(SafetensorsSamples.fixture("nothing.safetensors"))
    #expect(file.tensors.isEmpty)
    #expect(file.head == (try SafetensorsSamples.fixture("nothing.safetensors")))
  }

  @Test func `a kept head is read alone`() throws {
    let tensors = try ExpectedTensor.list("dtypes").filter { !Self.unsupported.contains($0.dtype) }
    let file = try SafetensorsSamples.open(SafetensorsSamples.file(of: tensors))
    #expect(try SafetensorsHeader(head: file.head).tensors == file.tensors)
    for damaged in [[], Array(file.head.dropLast()), file.head + [0x20], Array(file.head[..<7])] {
      #expect(throws: FormatError.self) { _ = try SafetensorsHeader(head: damaged) }
    }
    let nothing = try SafetensorsSamples.fixture("nothing.safetensors")
    #expect(try SafetensorsHeader(head: nothing).tensors.isEmpty)
  }

  @Test func `what is not a file of tensors`() throws {
    let missing = #expect(throws: FormatError.self) {
      _ = try SafetensorsFile(path: "no/such.safetensors", in: PosixFileSystem())
    }
    #expect(missing?.code == .io && missing?.file?.isNotFound == true)
    let directory = #expect(throws: FormatError.self) { _ = try SafetensorsFile(path: "/") }
    #expect(directory?.code == .io)
  }
}
